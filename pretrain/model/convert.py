"""Weights and configuration in Hugging Face's layout, without importing transformers.

Classes: BertForPreTraining (with NSP), BertForMaskedLM, RobertaForMaskedLM, ModernBertForMaskedLM.
A decoder that is tied to the word embeddings is left out, as transformers itself does when it
saves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from configs.errors import InputError
from configs.families import CLASSES, not_held
from configs.schema import ModelConfig
from pretrain.model.layouts import (
    BARE,
    DECODERS,
    FUSED,
    HEADS,
    INSIDE,
    OWN,
    PREFIXES,
    PROJECTIONS,
    encoder_stems,
    family_of,
    places,
)
from pretrain.model.modernbert_config import modernbert_fields
from pretrain.model.pretraining import PretrainingModel
from tokenizer.base import SpecialTokens

OWN_TYPE, SHAPE = "masklab", "model"
"""`model_type` in a folder of our own layout, and where in config.json the shape stands"""
BUFFERS = ("position_ids", "token_type_ids")
"""tables that are computed, in older files"""
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
FAMILIES = {"bert": "BERT", "roberta": "RoBERTa", "modernbert": "ModernBERT"}
OLD_KINDS = {"gamma": "weight", "beta": "bias"}


def to_huggingface(model: PretrainingModel) -> dict[str, Tensor]:
    """The model's weights under Hugging Face's names; under ours where no class holds it."""
    config = model.config
    if not_held(config):
        return model.state_dict()
    weights = renamed(model.state_dict(), config, HEADS[config.architecture])
    decoder, bias = DECODERS[config.architecture]
    if not config.tied and bias != decoder:
        # transformers ties neither of the two names then.
        weights[f"{decoder}.bias"] = weights[f"{bias}.bias"].clone()
    return weights


def renamed(
    weights: Mapping[str, Tensor], config: ModelConfig, heads: Mapping[str, str]
) -> dict[str, Tensor]:
    """An encoder's and its heads' weights under Hugging Face's names.

    Args:
        heads: our names of the heads' parts to theirs, without the final `.weight` or `.bias`.
    """
    stems = {**encoder_stems(config.layers, config.architecture), **heads}
    converted: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        stem, _, kind = name.rpartition(".")
        stem = stems[stem]
        if stem.endswith(FUSED):
            # Clones: the parts of one tensor share its memory, which safetensors does not save.
            for projection, part in zip(PROJECTIONS, tensor.chunk(3)):
                converted[f"{stem}.{projection}.{kind}"] = part.clone()
        else:
            converted[f"{stem}.{kind}"] = tensor
    return converted


def from_huggingface(weights: Mapping[str, Tensor], tied: bool) -> dict[str, Tensor]:
    """Hugging Face's weights under our names, for `PretrainingModel.load_state_dict`.

    Also takes the older names `gamma` and `beta` and encoders saved without `bert.`, `roberta.` or
    `model.`. What our classes have no place for is left out: see `left_out`. A decoder is there
    (`mlm_head.decoder.weight`) where it is another matrix than the word embeddings.

    Args:
        tied: whether config.json says that the decoder is the table of word embeddings.

    Raises:
        InputError: these are no weights of a BERT, RoBERTa or ModernBERT encoder, or its decoder
            is not what config.json says.
    """
    family, weights = _named(weights)
    _check_decoder(weights, family, tied)
    for _, name in places(weights, family):
        for one in _parts(name):
            if one in weights:
                _check_numbers(one, weights[one])
    weights = _fused(weights)
    converted = {ours: weights[name] for ours, name in places(weights, family) if name in weights}
    words = converted.get("encoder.embeddings.word.weight")
    if words is None or words.ndim != 2 or not layers_in(converted):
        raise InputError(
            "the weights hold no BERT or RoBERTa encoder, nor ModernBERT's (no embeddings or no "
            "layer 0): choose a checkpoint of one of these architectures"
        )
    decoder = converted.get("mlm_head.decoder.weight")
    if decoder is not None and _equal(decoder, words):
        del converted["mlm_head.decoder.weight"]
    return converted


def check_architecture(weights: Mapping[str, Tensor], architecture: str) -> None:
    """Raise `InputError` where weights bear the names of another architecture."""
    for other, starts in OWN.items():
        strange = next((name for name in weights if name.startswith(starts)), None)
        if strange and other != architecture:
            raise InputError(
                f"config.json describes a model of kind {architecture}, but the weights hold "
                f"{strange}: they do not belong together"
            )


def left_out(weights: Mapping[str, Tensor]) -> list[str]:
    """The names of Hugging Face's weights that our classes have no place for: other heads.

    Raises:
        InputError: some are of the encoder itself, which then computes something else.
    """
    family, weights = _named(weights)
    decoder, _ = DECODERS[family]
    known = {one for _, name in places(weights, family) for one in _parts(name)}
    known |= {f"{decoder}.weight", f"{decoder}.bias"}
    rest = [n for n in weights if n not in known and not n.endswith(BUFFERS)]
    for name in sorted(rest):
        if name.startswith(INSIDE[family]):
            raise InputError(
                f"{name} has no place in {FAMILIES[family]}'s encoder, so the model computes "
                "something else: choose one without"
            )
    return sorted(rest)


def layers_in(converted: Mapping[str, Tensor]) -> int:
    """The number of layers of weights under our names."""
    return sum(name.startswith("encoder.layers.") and ".qkv.weight" in name for name in converted)


def huggingface_config(
    config: ModelConfig, vocabulary_size: int, special: SpecialTokens, next_sentence: bool
) -> dict[str, object]:
    """The content of `config.json`, from which transformers' Auto classes build the model.

    A model that none of their classes holds is described in our own words.
    """
    if not_held(config):
        return {
            "model_type": OWN_TYPE,
            "architectures": [],
            "vocab_size": vocabulary_size,
            "pad_token_id": special.pad,
            SHAPE: asdict(config),
        }
    is_bert, name = config.architecture == "bert", CLASSES[config.architecture]
    own: dict[str, object] = {
        "model_type": config.architecture,
        "architectures": ["BertForPreTraining" if is_bert and next_sentence else name],
    }
    if config.architecture == "modernbert":
        shape = modernbert_fields(config, vocabulary_size, special)
    else:
        shape = _fields_of_2019(config, vocabulary_size, special)
    return own | shape | {"tie_word_embeddings": config.tied, "torch_dtype": "float32"}


def _fields_of_2019(
    config: ModelConfig, vocabulary_size: int, special: SpecialTokens
) -> dict[str, object]:
    # RoBERTa's positions start after the padding id.
    first_position = special.pad + 1 if config.architecture == "roberta" else 0
    return {
        "vocab_size": vocabulary_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward_size,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": config.max_positions + first_position,
        "type_vocab_size": config.segment_types,
        "initializer_range": config.initializer_range,
        "layer_norm_eps": config.layer_norm_epsilon,
        "pad_token_id": special.pad,
        "bos_token_id": special.cls,
        "eos_token_id": special.sep,
    }


def _named(weights: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """(family, the weights under today's names)."""
    family = family_of(weights)
    named = {_modern(name, family): w for name, w in weights.items()}
    if len(named) < len(weights):
        names = Counter(_modern(name, family) for name in weights)
        twice = next(name for name, count in names.items() if count > 1)
        raise InputError(f"{twice} is there under two names: remove one of them")
    decoder, bias = DECODERS[family]
    # The bias stands under the decoder's name, under the head's, or under both.
    if f"{decoder}.bias" in named:
        named.setdefault(f"{bias}.bias", named[f"{decoder}.bias"])
    return family, named


def _check_decoder(weights: Mapping[str, Tensor], family: str, tied: bool) -> None:
    decoder, bias = DECODERS[family]
    stems = dict(places(weights, family))
    words = weights.get(stems["encoder.embeddings.word.weight"])
    own, own_bias = weights.get(f"{decoder}.weight"), weights.get(f"{decoder}.bias")
    bias_V = weights.get(f"{bias}.bias")
    cure = "it is computed tied here: tie the two, or remove the MLM head to take the encoder alone"
    if tied and words is not None and own is not None and not _equal(words, own):
        raise InputError(f"{decoder} is not the word embeddings, and {cure}")
    if bias_V is not None and own_bias is not None and not _equal(bias_V, own_bias):
        raise InputError(f"{decoder} is not {bias}.bias, and {cure}")
    has_head = stems.get("mlm_head.dense.weight") in weights
    if has_head and not tied:
        # transformers ties neither then, and makes new numbers for what is missing.
        for name in (f"{decoder}.weight", f"{decoder}.bias"):
            if name not in weights and not (family == "modernbert" and name.endswith("bias")):
                raise InputError(f"tie_word_embeddings=false but {name} is missing, and {cure}")


def _equal(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and one.dtype == two.dtype and torch.equal(one, two)


def _check_numbers(name: str, tensor: Tensor) -> None:
    if tensor.ndim not in (1, 2):
        raise InputError(f"{name} is of shape {tuple(tensor.shape)}: no weight of ours has that")
    if tensor.dtype not in FLOATS:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"{name} is of {kind}, which is no weight: save it as float32")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{name} holds numbers that are not finite: choose another checkpoint")


def _modern(name: str, family: str) -> str:
    """Today's name of a weight, with the encoder's prefix."""
    stem, _, kind = name.rpartition(".")
    if name.startswith(BARE[family]):
        stem = f"{PREFIXES[family]}.{stem}"
    return f"{stem}.{OLD_KINDS.get(kind, kind)}"


def _parts(name: str) -> list[str]:
    """The tensors that a weight of ours is one of: query, key and value where they lie apart."""
    stem, _, kind = name.rpartition(".")
    return [f"{stem}.{p}.{kind}" for p in PROJECTIONS] if stem.endswith(FUSED) else [name]


def _fused(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of each layer in one tensor."""
    fused = dict(weights)
    for name in weights:
        stem, _, kind = name.rpartition(".query.")
        if stem.endswith(FUSED):
            places = [f"{stem}.{projection}.{kind}" for projection in PROJECTIONS]
            shapes = {p: tuple(weights[p].shape) if p in weights else None for p in places}
            if len(set(shapes.values())) > 1:
                raise InputError(f"query, key and value are not of one shape: {shapes}")
            fused[f"{stem}.{kind}"] = torch.cat([fused.pop(place) for place in places])
    return fused
