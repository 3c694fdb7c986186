"""A trained encoder as a Hugging Face folder or as ONNX graphs, with its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from configs.errors import InputError
from configs.families import CLASSES, not_held
from configs.schema import PretrainConfig
from configs.system.files import written_aside
from configs.system.folder_hashes import write_hashes
from configs.system.run_names import WEIGHTS
from pretrain.model.convert import huggingface_config, to_huggingface
from pretrain.model.pretraining import PretrainingModel
from pretrain.run.onnx import ENCODER_GRAPH, MLM_GRAPH, PaddedEncoder, PaddedMLM, write_onnx
from pretrain.run.saved_run import open_run
from pretrain.run.tensors import write_tensors
from tokenizer.base import Tokenizer
from tokenizer.huggingface import write_huggingface


def export_model(
    folder: Path, model: PretrainingModel, config: PretrainConfig, tokenizer: Tokenizer
) -> None:
    """Write `folder` so that transformers' Auto classes load it without custom code.

    The class is BertForPreTraining (with NSP), BertForMaskedLM, RobertaForMaskedLM or
    ModernBertForMaskedLM. What none of them holds is written under our own names, for
    `load_pretrained`.
    """
    with written_aside(folder) as aside:
        weights = {name: w.cpu().contiguous() for name, w in to_huggingface(model).items()}
        write_tensors(aside / WEIGHTS, weights)
        write_config(aside, config, tokenizer)
        write_hashes(aside)


def write_config(folder: Path, config: PretrainConfig, tokenizer: Tokenizer) -> None:
    """config.json and the tokenizer's files."""
    huggingface = huggingface_config(
        config.model, tokenizer.vocabulary_size, tokenizer.special, config.next_sentence_prediction
    )
    (folder / "config.json").write_text(json.dumps(huggingface, indent=2), encoding="utf-8")
    write_huggingface(tokenizer, folder, config.model.max_positions, config.model.segment_types)


def check_output(folder: Path) -> None:
    """Raise `InputError` where an export to `folder` would replace anything but an export."""
    weights = (WEIGHTS, ENCODER_GRAPH)
    is_export = (folder / "config.json").is_file() and any(
        (folder / name).is_file() for name in weights
    )
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not (is_free or is_export):
        raise InputError(f"--output {folder} holds something else: name a new folder")


def export_run(run_dir: Path, folder: Path, strict: bool = False) -> Path:
    """Export the newest whole checkpoint of a run; returns its path.

    Args:
        strict: refuse a model that no class of transformers holds.
    Raises:
        InputError: `run_dir` is no run folder, or holds no whole checkpoint.
    """
    run = open_run(run_dir, f"--model {run_dir}")
    fields = not_held(run.config.model)
    if strict and fields:
        raise InputError(
            f"--model {run_dir}: {CLASSES[run.config.model.architecture]} has no place for "
            f"{', '.join(fields)}: take --format onnx, or give the run itself to fine-tuning"
        )
    export_model(folder, run.model(), run.config, run.tokenizer)
    return run.checkpoint


def export_run_onnx(run_dir: Path, folder: Path) -> Path:
    """The same as encoder.onnx and mlm.onnx, with the tokenizer's files."""
    run = open_run(run_dir, f"--model {run_dir}")
    model = run.model()
    with written_aside(folder) as aside:
        encoder = PaddedEncoder(model.encoder)
        write_onnx(aside / ENCODER_GRAPH, encoder, ("last_hidden_state",), per_token=True)
        write_onnx(aside / MLM_GRAPH, PaddedMLM(model), ("logits",), per_token=True)
        write_config(aside, run.config, run.tokenizer)
        write_hashes(aside)
    return run.checkpoint
