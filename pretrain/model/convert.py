"""Weights and configuration in Hugging Face's layout, without importing transformers.

Classes: BertForPreTraining (with NSP), BertForMaskedLM, RobertaForMaskedLM. The decoder is tied to
the word embeddings and left out, as transformers itself does when it saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from configs.errors import InputError
from configs.schema import ModelConfig
from pretrain.model.pretraining import PretrainingModel
from tokenizer.base import SpecialTokens

EMBEDDINGS = {
    "word": "word_embeddings",
    "position": "position_embeddings",
    "segment": "token_type_embeddings",
    "norm": "LayerNorm",
}
LAYER = {
    "qkv": "attention.self",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward_inner": "intermediate.dense",
    "feed_forward_output": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
HEADS = {
    "bert": {
        "mlm_head": "cls.predictions",
        "mlm_head.dense": "cls.predictions.transform.dense",
        "mlm_head.norm": "cls.predictions.transform.LayerNorm",
        "nsp_head.pooler": "bert.pooler.dense",
        "nsp_head.classifier": "cls.seq_relationship",
    },
    "roberta": {
        "mlm_head": "lm_head",
        "mlm_head.dense": "lm_head.dense",
        "mlm_head.norm": "lm_head.layer_norm",
    },
}
PROJECTIONS = ("query", "key", "value")
FUSED = LAYER["qkv"]
ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")
ROBERTA_PAD = 1
"""padding id where config.json names none"""
SUPPORTED = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
}
"""fields of config.json that have one value here"""
OLD_KINDS = {"gamma": "weight", "beta": "bias"}


def to_huggingface(model: PretrainingModel) -> dict[str, Tensor]:
    """The model's weights under Hugging Face's names."""
    config = model.config
    return renamed(model.state_dict(), config, HEADS[config.architecture])


def renamed(
    weights: Mapping[str, Tensor], config: ModelConfig, heads: Mapping[str, str]
) -> dict[str, Tensor]:
    """An encoder's and its heads' weights under Hugging Face's names.

    Args:
        heads: our names of the heads' parts to theirs, without the final `.weight` or `.bias`.
    """
    stems, converted = _stems(config.layers, config.architecture) | heads, {}
    for name, tensor in weights.items():
        stem, _, kind = name.rpartition(".")
        stem = stems[stem]
        if stem.endswith(FUSED):
            for projection, part in zip(PROJECTIONS, tensor.chunk(3)):
                converted[f"{stem}.{projection}.{kind}"] = part.clone()
        else:
            converted[f"{stem}.{kind}"] = tensor
    return converted


def from_huggingface(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's weights under our names, for `PretrainingModel.load_state_dict`.

    Also takes the older names `gamma` and `beta` and encoders saved without `bert.` or `roberta.`.
    Weights that our classes have no place for (other heads, RoBERTa's pooler) are left out.

    Raises:
        InputError: these are no weights of a BERT or RoBERTa encoder.
    """
    is_roberta = any(name.startswith(("roberta.", "lm_head.")) for name in weights)
    architecture = "roberta" if is_roberta else "bert"
    weights = _fused({_modern(name, architecture): w for name, w in weights.items()})
    layers = sum(name.endswith(f"{FUSED}.weight") for name in weights)
    converted = {
        f"{ours}.{kind}": weights[f"{theirs}.{kind}"]
        for ours, theirs in (_stems(layers, architecture) | HEADS[architecture]).items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in weights
    }
    if not layers or "encoder.embeddings.word.weight" not in converted:
        raise InputError(
            "the weights hold no BERT or RoBERTa encoder (no embeddings.word_embeddings or "
            "encoder.layer.0): choose a checkpoint of one of these architectures"
        )
    return converted


def huggingface_config(
    config: ModelConfig, vocabulary_size: int, special: SpecialTokens, next_sentence: bool
) -> dict[str, object]:
    """The content of `config.json`, from which transformers' Auto classes build the model."""
    is_bert = config.architecture == "bert"
    bert_class = "BertForPreTraining" if next_sentence else "BertForMaskedLM"
    return {
        "model_type": config.architecture,
        "architectures": [bert_class if is_bert else "RobertaForMaskedLM"],
        "vocab_size": vocabulary_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward_size,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        # RoBERTa's positions start after the padding id.
        "max_position_embeddings": config.max_positions + (0 if is_bert else special.pad + 1),
        "type_vocab_size": config.segment_types,
        "initializer_range": config.initializer_range,
        "layer_norm_eps": config.layer_norm_epsilon,
        "pad_token_id": special.pad,
        "bos_token_id": special.cls,
        "eos_token_id": special.sep,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }


def model_config(content: Mapping[str, Any]) -> ModelConfig:
    """The shape that a `config.json` describes; missing fields have transformers' defaults.

    Raises:
        InputError: it asks for something that our encoder does not compute.
    """
    kind = content.get("model_type")
    if kind not in ("bert", *ROBERTA_TYPES):
        raise InputError(f"model_type={kind}: choose a BERT or RoBERTa model")
    for name, supported in SUPPORTED.items():
        value = content.get(name, supported)
        if value != supported:
            raise InputError(f"{name}={value} is not computed here, only {name}={supported}")
    is_roberta = kind in ROBERTA_TYPES
    first_position = content.get("pad_token_id", ROBERTA_PAD) + 1 if is_roberta else 0
    rate = content.get("hidden_dropout_prob", 0.1)
    return ModelConfig(
        architecture="roberta" if is_roberta else "bert",
        layers=content.get("num_hidden_layers", 12),
        hidden_size=content.get("hidden_size", 768),
        heads=content.get("num_attention_heads", 12),
        feed_forward_size=content.get("intermediate_size", 3072),
        max_positions=content.get("max_position_embeddings", 512) - first_position,
        segment_types=content.get("type_vocab_size", 2),
        dropout=rate,
        attention_dropout=content.get("attention_probs_dropout_prob", 0.1),
        layer_norm_epsilon=content.get("layer_norm_eps", 1e-12),
        initializer_range=content.get("initializer_range", 0.02),
    )


def _stems(layers: int, architecture: str) -> dict[str, str]:
    """Our names of an encoder's parts to theirs, without the final `.weight` or `.bias`."""
    stems = {
        f"encoder.embeddings.{ours}": f"{architecture}.embeddings.{theirs}"
        for ours, theirs in EMBEDDINGS.items()
    }
    for index in range(layers):
        for ours, theirs in LAYER.items():
            stems[f"encoder.layers.{index}.{ours}"] = (
                f"{architecture}.encoder.layer.{index}.{theirs}"
            )
    return stems


def _modern(name: str, architecture: str) -> str:
    """Today's name of a weight, with the encoder's prefix."""
    stem, _, kind = name.rpartition(".")
    if stem.startswith(("embeddings.", "encoder.", "pooler.")):
        stem = f"{architecture}.{stem}"
    return f"{stem}.{OLD_KINDS.get(kind, kind)}"


def _fused(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of each layer in one tensor."""
    fused = dict(weights)
    for name in weights:
        stem, _, kind = name.rpartition(".query.")
        if stem.endswith(FUSED):
            parts = [fused.pop(f"{stem}.{projection}.{kind}") for projection in PROJECTIONS]
            fused[f"{stem}.{kind}"] = torch.cat(parts)
    return fused
