"""Encoders to continue from: a run of ours, a Hugging Face folder, or a name on its hub.

No code is executed: weights are safetensors, or a .bin that torch unpickles in its weights-only
mode.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import InputError, first_line, named
from configs.families import DECIDING
from configs.loader import from_container
from configs.schema import ModelConfig
from configs.system.files import find_file
from configs.system.folder_hashes import check_hashes
from configs.system.json_files import read_json
from configs.system.run_names import CONFIG
from pretrain.model.convert import (
    OWN_TYPE,
    SHAPE,
    check_architecture,
    from_huggingface,
    layers_in,
    left_out,
)
from pretrain.model.pretraining import PretrainingModel
from pretrain.model.published_config import (
    check_vocabulary,
    model_config,
    padding_id,
    ties_embeddings,
    unknown_fields,
)
from pretrain.run.saved_run import open_run
from pretrain.run.tensors import WEIGHTS_FILES, read_weights
from tokenizer.base import Tokenizer
from tokenizer.load import load_framed

logger = logging.getLogger(__name__)

HUB_FILES = [
    *("*.json", "*.txt", "*.model", "model-*.safetensors", "pytorch_model-*.bin"),
    *WEIGHTS_FILES,
]
WORDS = "encoder.embeddings.word.weight"
SHOWN = 5
"""names in a note"""


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its tokenizer."""

    model: ModelConfig
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    """float32 under our names: encoder.*, and where it has them mlm_head.*, nsp_head.*"""

    @property
    def vocabulary_size(self) -> int:
        """Rows of the embedding table: the tokenizer's entries, or more where it was padded."""
        return len(self.weights[WORDS])


def load_pretrained(name: str) -> Pretrained:
    """The encoder called `name`.

    Args:
        name: a folder of ours (with config.yaml), of Hugging Face's (with config.json), or
            `owner/name`, `owner/name@revision` on the hub.
    Raises:
        InputError: nothing there, damage, another architecture, weights that execute code, or a
            tokenizer that does not fit.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = fetch(name)
    if find_file(folder, CONFIG):
        pretrained = _read_run(folder)
    elif find_file(folder, "config.json"):
        check_hashes(folder)
        pretrained = _read_huggingface(folder)
    else:
        raise InputError(
            f"model={name}: neither a run folder ({CONFIG}) nor a Hugging Face folder "
            "(config.json): check the path"
        )
    _check_tokenizer(folder, pretrained)
    return pretrained


def load_initial(model: PretrainingModel, name: str, tokenizer: Tokenizer) -> None:
    """Give a model the weights called `name`, heads too where there are any; raises `InputError`:
    they are of another shape, or belong to another tokenizer."""
    initial = load_pretrained(name)
    if initial.tokenizer.fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"initial_model={name} was made with another tokenizer than this run's: set "
            "tokenizer.path to its own"
        )
    has_head = "mlm_head.dense.weight" in initial.weights
    _check_computation(name, initial.model, model.config, has_head)
    own = model.state_dict()
    size = tokenizer.vocabulary_size
    weights = {
        key: w[:size] if len(w) == initial.vocabulary_size else w
        for key, w in initial.weights.items()
        if key in own
    }
    for key in own:
        fits = key in weights and weights[key].shape == own[key].shape
        if not fits and (key in weights or key.startswith("encoder.")):
            raise InputError(
                f"initial_model={name} has another shape than `model` at {key}: copy the fields of "
                f"`model` from it: {initial.model}"
            )
    model.load_state_dict(weights, strict=False)


def _check_computation(name: str, initial: ModelConfig, own: ModelConfig, has_head: bool) -> None:
    """Raise `InputError` where weights fit by their shapes and would compute something else."""
    for field in (*DECIDING, *(("tied",) if has_head else ())):
        theirs, ours = getattr(initial, field), getattr(own, field)
        if theirs != ours:
            raise InputError(
                f"initial_model={name} has model.{field}={theirs}, and this run model.{field}="
                f"{ours}: copy the fields of `model` from it: {initial}"
            )


def fetch(name: str) -> Path:
    """The folder of a hub model, downloaded or found in the hub's own cache."""
    if name.count("/") > 1 or name.startswith((".", "~", "/")):
        raise InputError(f"model={name}: no such folder: check the path")
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=HUB_FILES)
    except Exception as error:  # the library and its network stack each raise their own family
        raise InputError(
            f"model={name}: no such folder here, and not to be had from the hub "
            f"({first_line(error)}): check the name and the network"
        ) from error
    return Path(folder)


def _read_run(folder: Path) -> Pretrained:
    run = open_run(folder, f"model={folder}")
    weights = run.weights()  # first: without a checkpoint nothing else is worth a word
    return Pretrained(run.config.model, run.tokenizer, weights)


def _read_huggingface(folder: Path) -> Pretrained:
    path = folder / "config.json"
    content = read_json(path, "fetch it anew")
    if content.get("model_type") == OWN_TYPE:
        return _read_own(folder, content)
    with named(path):
        config, tied = model_config(content), ties_embeddings(content)
    raw = read_weights(folder)
    with named(folder):
        check_architecture(raw, config.architecture)
        weights, rest = from_huggingface(raw, tied), left_out(raw)
    with named(path):
        check_vocabulary(content, len(weights[WORDS]))
    tell_left_out(folder, unknown_fields(content), rest)
    tokenizer = load_framed(folder, content["model_type"])
    if config.architecture == "roberta" and padding_id(content) != tokenizer.special.pad:
        raise InputError(
            f"{folder}: config.json has pad_token_id={padding_id(content)}, the tokenizer "
            f"{tokenizer.special.pad}, and positions are counted from it: correct one of them"
        )
    config = replace(config, tied="mlm_head.decoder.weight" not in weights)
    _check_shapes(folder, config, weights, tokenizer.special.pad)
    return Pretrained(config, tokenizer, {name: w.float() for name, w in weights.items()})


def _read_own(folder: Path, content: dict[str, Any]) -> Pretrained:
    """An export of ours that no class of transformers holds."""
    try:
        config = from_container(ModelConfig, content[SHAPE])
    except Exception as error:  # whatever damage leads to, in the library as well
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{folder / 'config.json'}: damaged ({SHAPE}: {reason}): export the run anew"
        ) from error
    weights, tokenizer = read_weights(folder), load_framed(folder, None)
    if WORDS not in weights:
        raise InputError(f"{folder}: the weights hold no {WORDS}: export the run anew")
    _check_shapes(folder, config, weights, tokenizer.special.pad)
    return Pretrained(config, tokenizer, {name: w.float() for name, w in weights.items()})


def tell_left_out(folder: Path, fields: list[str], weights: list[str]) -> None:
    """A note of what nothing here reads, from the rank that speaks for all."""
    for what, names in (("fields of config.json", fields), ("weights", weights)):
        if names and os.environ.get("RANK", "0") == "0":
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            shown = ", ".join(names[:SHOWN])
            logger.warning(f"{folder}: {what} not used: {shown}{more}")


def _check_shapes(folder: Path, config: ModelConfig, weights: dict[str, Tensor], pad: int) -> None:
    """Raise `InputError` where weights are missing or not as config.json says."""
    layers = layers_in(weights)
    if config.layers != layers:
        raise InputError(
            f"{folder}: config.json has num_hidden_layers={config.layers}, the weights {layers} "
            "whole layers: they do not belong together, or one of them is torn"
        )
    with torch.device("meta"):
        expected: nn.Module = PretrainingModel(config, len(weights[WORDS]), pad, True)
    shapes = expected.state_dict()
    for name in sorted(weights.keys() - shapes.keys()):
        raise InputError(f"{folder}: {name} is there, but config.json asks for none: correct it")
    for name, tensor in shapes.items():
        if name not in weights and not name.startswith("encoder."):
            continue
        if name not in weights or weights[name].shape != tensor.shape:
            shape = f"of shape {tuple(weights[name].shape)}" if name in weights else "missing"
            raise InputError(
                f"{folder}: {name} is {shape} where config.json asks for {tuple(tensor.shape)}: "
                "fetch the folder anew"
            )


def _check_tokenizer(folder: Path, pretrained: Pretrained) -> None:
    """Raise `InputError` where the tokenizer has ids that the encoder has no embedding for."""
    entries, rows = pretrained.tokenizer.vocabulary_size, pretrained.vocabulary_size
    if entries > rows:
        raise InputError(
            f"{folder}: the tokenizer has {entries:,} entries, the encoder {rows:,} embeddings: "
            "they do not belong together"
        )
