"""Weights and configuration in Hugging Face's layout, without importing transformers.

Classes: BertForPreTraining (with NSP), BertForMaskedLM, RobertaForMaskedLM. The decoder is tied to
the word embeddings and left out, as transformers itself does when it saves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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
TIED = {
    "bert": ("cls.predictions.decoder", "cls.predictions"),
    "roberta": ("lm_head.decoder", "lm_head"),
}
"""what is saved a second time under another name: (the decoder, where its bias stands as well)"""
BUFFERS = ("position_ids", "token_type_ids")
"""tables that are computed, in older files"""
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
OF_BERT = (
    *("norm", "norm_kind", "qk_norm", "position", "feed_forward", "bias", "tied"),
    "attention_window",
)
"""fields of ModelConfig that BERT's and RoBERTa's classes have one value of, our default"""
OLD_KINDS = {"gamma": "weight", "beta": "bias"}


def beyond_bert(config: ModelConfig) -> str:
    """The fields by which a model computes what no BERT or RoBERTa does, or an empty string."""
    default = ModelConfig()
    values = {name: getattr(config, name) for name in OF_BERT}
    others = (name for name, value in values.items() if value != getattr(default, name))
    return ", ".join(f"model.{name}={values[name]}" for name in others)


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
    stems = {**_stems(config.layers, config.architecture), **heads}
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

    Also takes the older names `gamma` and `beta` and encoders saved without `bert.` or `roberta.`.
    What our classes have no place for is left out: see `left_out`.

    Args:
        tied: whether config.json says that the decoder is the table of word embeddings.

    Raises:
        InputError: these are no weights of a BERT or RoBERTa encoder, or its decoder is another
            matrix than its embeddings.
    """
    architecture, weights = _named(weights)
    _check_decoder(weights, architecture, tied)
    for name in _places(weights, architecture):
        _check_numbers(name, weights[name])
    weights = _fused(weights)
    converted = {
        f"{ours}.{kind}": weights[f"{theirs}.{kind}"]
        for ours, theirs in _all_stems(weights, architecture).items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in weights
    }
    words = converted.get("encoder.embeddings.word.weight")
    if words is None or words.ndim != 2 or not layers_in(converted):
        raise InputError(
            "the weights hold no BERT or RoBERTa encoder (no embeddings.word_embeddings or "
            "encoder.layer.0): choose a checkpoint of one of these architectures"
        )
    return converted


def check_architecture(weights: Mapping[str, Tensor], architecture: str) -> None:
    """Raise `InputError` where weights bear the names of the other architecture."""
    prefixes = {"bert": ("bert.", "cls."), "roberta": ("roberta.", "lm_head.")}
    for other, starts in prefixes.items():
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
    architecture, weights = _named(weights)
    decoder, _ = TIED[architecture]
    known = {*_places(weights, architecture), f"{decoder}.weight", f"{decoder}.bias"}
    rest = [n for n in weights if n not in known and not n.endswith(BUFFERS)]
    inside = tuple(f"{architecture}.{part}." for part in ("embeddings", "encoder"))
    for name in sorted(rest):
        if name.startswith(inside):
            raise InputError(
                f"{name} has no place in BERT's encoder, so the model computes something else: "
                "choose one without"
            )
    return sorted(rest)


def layers_in(converted: Mapping[str, Tensor]) -> int:
    """The number of layers of weights under our names."""
    return sum(name.startswith("encoder.layers.") and ".qkv.weight" in name for name in converted)


def huggingface_config(
    config: ModelConfig, vocabulary_size: int, special: SpecialTokens, next_sentence: bool
) -> dict[str, object]:
    """The content of `config.json`, from which transformers' Auto classes build the model.

    Raises:
        InputError: none of the classes computes what the model does.
    """
    beyond = beyond_bert(config)
    if beyond:
        raise InputError(
            f"no class of transformers for model.architecture={config.architecture} has {beyond}: "
            "use the run folder itself, from which fine-tuning and further pretraining start"
        )
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


def _all_stems(weights: Mapping[str, Tensor], architecture: str) -> dict[str, str]:
    layers = sum(name.endswith((f"{FUSED}.weight", f"{FUSED}.query.weight")) for name in weights)
    return _stems(layers, architecture) | HEADS[architecture]


def _places(weights: Mapping[str, Tensor], architecture: str) -> list[str]:
    """The names of the weights that have a place here."""
    stems: list[str] = []
    for stem in _all_stems(weights, architecture).values():
        if stem.endswith(FUSED):
            stems += [f"{stem}.{projection}" for projection in PROJECTIONS]
        else:
            stems.append(stem)
    names = [f"{stem}.{kind}" for stem in stems for kind in ("weight", "bias")]
    return [name for name in names if name in weights]


def _named(weights: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """(architecture, the weights under today's names)."""
    is_roberta = any(name.startswith(("roberta.", "lm_head.")) for name in weights)
    architecture = "roberta" if is_roberta else "bert"
    named = {_modern(name, architecture): w for name, w in weights.items()}
    if len(named) < len(weights):
        names = Counter(_modern(name, architecture) for name in weights)
        twice = next(name for name, count in names.items() if count > 1)
        raise InputError(f"{twice} is there under two names: remove one of them")
    decoder, bias = TIED[architecture]
    # The bias stands under the decoder's name, under the head's, or under both.
    if f"{decoder}.bias" in named:
        named.setdefault(f"{bias}.bias", named[f"{decoder}.bias"])
    return architecture, named


def _check_decoder(weights: Mapping[str, Tensor], architecture: str, tied: bool) -> None:
    decoder, bias = TIED[architecture]
    words = weights.get(f"{architecture}.embeddings.word_embeddings.weight")
    pairs = (
        ("the word embeddings", words, weights.get(f"{decoder}.weight")),
        (f"{bias}.bias", weights.get(f"{bias}.bias"), weights.get(f"{decoder}.bias")),
    )
    cure = "it is computed tied here: tie the two, or remove the MLM head to take the encoder alone"
    for other, one, two in pairs:
        if one is not None and two is not None and not _equal(one, two):
            raise InputError(f"{decoder} is not {other}, and {cure}")
    has_head = any(name.startswith(f"{HEADS[architecture]['mlm_head']}.") for name in weights)
    if has_head and not tied:
        # transformers ties neither then, and makes new numbers for what is missing.
        for name in (f"{decoder}.weight", f"{decoder}.bias"):
            if name not in weights:
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
            places = [f"{stem}.{projection}.{kind}" for projection in PROJECTIONS]
            shapes = {p: tuple(weights[p].shape) if p in weights else None for p in places}
            if len(set(shapes.values())) > 1:
                raise InputError(f"query, key and value are not of one shape: {shapes}")
            fused[f"{stem}.{kind}"] = torch.cat([fused.pop(place) for place in places])
    return fused
