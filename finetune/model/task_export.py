"""A fine-tuned model for others: a Hugging Face folder, or ONNX graphs.

The Hugging Face classes are Bert- and RobertaFor{SequenceClassification, MultipleChoice,
TokenClassification, QuestionAnswering}.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.errors import InputError
from configs.families import not_held
from configs.system.files import written_aside
from configs.system.folder_hashes import write_hashes
from finetune.model.model_folder import FinetunedModel
from finetune.model.task_model import SequenceHead, TokenHead
from pretrain.model.convert import huggingface_config, renamed
from pretrain.run.onnx import PaddedEncoder, write_onnx
from pretrain.run.tensors import write_tensors
from tokenizer.huggingface import write_huggingface

CLASSES = {
    "classification": "ForSequenceClassification",
    "regression": "ForSequenceClassification",
    "choice": "ForMultipleChoice",
    "tagging": "ForTokenClassification",
    "span": "ForQuestionAnswering",
}
FAMILIES = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}


def head_names(kind: str, architecture: str) -> dict[str, str]:
    """Our names of a head's parts to Hugging Face's."""
    if kind == "span":
        return {"head.output": "qa_outputs"}
    if kind == "tagging":
        return {"head.output": "classifier"}
    if architecture == "roberta" and kind != "choice":
        return {"head.dense": "classifier.dense", "head.output": "classifier.out_proj"}
    return {"head.dense": f"{architecture}.pooler.dense", "head.output": "classifier"}


def export_huggingface(model: FinetunedModel, folder: Path) -> str:
    """Write `folder` for transformers' Auto classes; returns the class's name.

    Raises:
        InputError: the head pools in a way that no class of theirs does, or none holds the model.
    """
    card, shape = model.card, model.card.model
    lacks = not_held(shape) or ["a head without ModernBERT's norm"]
    if shape.architecture == "modernbert" or not_held(shape):
        raise InputError(
            f"no class of transformers has a place for {', '.join(lacks)}: take --format onnx"
        )
    if card.head.pooling != "cls" and isinstance(model.model.head, SequenceHead):
        raise InputError(
            f"head.pooling={card.head.pooling}: no class of transformers pools so: take --format "
            "onnx, or fine-tune with head.pooling=cls"
        )
    name = FAMILIES[shape.architecture] + CLASSES[card.task.kind]
    names = head_names(card.task.kind, shape.architecture)
    weights = renamed(model.model.state_dict(), shape, names)
    with written_aside(folder) as aside:
        contiguous = {key: w.detach().cpu().contiguous() for key, w in weights.items()}
        write_tensors(aside / "model.safetensors", contiguous)
        write_card(aside, model, name)
        write_hashes(aside)
    return name


def export_onnx(model: FinetunedModel, folder: Path) -> list[str]:
    """Write `folder` with encoder.onnx and model.onnx; returns their names."""
    is_span = model.card.task.kind == "span"
    outputs = ("start_logits", "end_logits") if is_span else ("logits",)
    per_token = model.card.task.kind in ("span", "tagging")
    encoder = PaddedEncoder(model.model.encoder)
    with written_aside(folder) as aside:
        write_onnx(aside / "encoder.onnx", encoder, ("last_hidden_state",), per_token=True)
        task = PaddedTask(model.model.head, encoder, is_span)
        write_onnx(aside / "model.onnx", task, outputs, per_token)
        shape = model.card.model
        write_card(
            aside, model, None if not_held(shape) else FAMILIES[shape.architecture] + "Model"
        )
        write_hashes(aside)
    return ["encoder.onnx", "model.onnx"]


def write_card(folder: Path, model: FinetunedModel, name: str | None) -> None:
    """config.json with the labels, and the tokenizer's files."""
    card, tokenizer = model.card, model.tokenizer
    words = len(model.model.encoder.embeddings.word.weight)
    content = huggingface_config(card.model, words, tokenizer.special, next_sentence=False)
    # transformers makes as many outputs as there are labels, also of a span's two ends.
    labels = card.labels or (("start", "end") if card.task.kind == "span" else ("value",))
    content |= {
        "architectures": [name] if name else [],
        "classifier_dropout": card.head.dropout,
        "id2label": {str(place): label for place, label in enumerate(labels)},
        "label2id": {label: place for place, label in enumerate(labels)},
    }
    if card.task.kind == "regression":
        content["problem_type"] = "regression"
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text, encoding="utf-8")
    write_huggingface(tokenizer, folder, card.max_length, card.model.segment_types)


class PaddedTask(nn.Module):
    """Encoder and head on padded input, from the same parameters, in evaluation."""

    def __init__(
        self, head: SequenceHead | TokenHead, encoder: PaddedEncoder, splits_sides: bool
    ) -> None:
        super().__init__()
        self.head, self.encoder, self.splits_sides = head, encoder, splits_sides

    def forward(
        self, ids_BL: Tensor, mask_BL: Tensor, segments_BL: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits (B, C) or (B, L, C); for spans those of start and end, each (B, L)."""
        hidden_BLD: Tensor = self.encoder(ids_BL, mask_BL, segments_BL)
        if isinstance(self.head, SequenceHead):
            pooled_BD = hidden_BLD[:, 0]
            if self.head.pooling == "mean":
                weights_BL1 = mask_BL[..., None].to(hidden_BLD.dtype)
                pooled_BD = (hidden_BLD * weights_BL1).sum(1) / weights_BL1.sum(1)
            logits_BC: Tensor = self.head.output(torch.tanh(self.head.dense(pooled_BD)))
            return logits_BC
        logits_BLC: Tensor = self.head.output(hidden_BLD)
        return (logits_BLC[..., 0], logits_BLC[..., 1]) if self.splits_sides else logits_BLC
