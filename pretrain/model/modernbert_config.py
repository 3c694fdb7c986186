"""ModernBERT's config.json, written and read (Warner et al. 2024; transformers' ModernBertConfig).

What its fields mean here:
    local_attention: `model.attention_window`, in layers whose `layer_types` is sliding_attention;
    rope_parameters (in older files global_rope_theta and local_rope_theta): the thetas;
    attention_bias, mlp_bias, norm_bias, classifier_bias: `model.bias=all`, together or not at all;
    embedding_dropout, mlp_dropout: `model.dropout`, which is applied to each sub-layer's output
        here and before its last product there: training with dropout differs, answers do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from configs.errors import InputError
from configs.schema import ModelConfig
from configs.system.json_files import shown
from pretrain.model.config_fields import check_values, count, number, switch
from tokenizer.base import SpecialTokens

COUNTS = {
    "num_hidden_layers": 22,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
    "max_position_embeddings": 8192,
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
}
NUMBERS = {
    "embedding_dropout": 0.0,
    "mlp_dropout": 0.0,
    "attention_dropout": 0.0,
    "norm_eps": 1e-5,
    "initializer_range": 0.02,
    "global_rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0,
}
BIASES = ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias")
GATES = {"gelu": "geglu", "silu": "swiglu", "swish": "swiglu"}
GLOBAL, LOCAL = "full_attention", "sliding_attention"
LAYER_TYPES, ROPE = "layer_types", "rope_parameters"
ONE_VALUE: dict[str, tuple[object, ...]] = {
    # of the MLM head, which is the same in all our models
    "classifier_activation": ("gelu",),
    # read by no version of the class, though published files have it
    "position_embedding_type": ("absolute", None),
    "rope_scaling": (None,),
    "is_decoder": (False, None),
    "is_encoder_decoder": (False, None),
    "add_cross_attention": (False, None),
    "quantization_config": (None,),
    "auto_map": (None,),
}
READ = (*BIASES, "hidden_activation", "decoder_bias", LAYER_TYPES, ROPE)
HARMLESS = (
    *("initializer_cutoff_factor", "classifier_pooling", "deterministic_flash_attn"),
    *("sparse_prediction", "sparse_pred_ignore_index", "repad_logits_with_grad"),
    *("reference_compile", "layer_norm_eps", "cls_token_id", "type_vocab_size"),
)
"""another way to the same numbers, of training there, of other heads, or read by no class"""


def modernbert_fields(
    config: ModelConfig, vocabulary_size: int, special: SpecialTokens
) -> dict[str, object]:
    """The content of config.json, beside what all families have."""
    has_biases = config.bias == "all"
    window, local_theta = config.attention_window, config.rope_local_theta
    thetas = {
        GLOBAL: config.rope_theta,
        LOCAL: config.rope_theta if local_theta is None else local_theta,
    }
    return {
        "vocab_size": vocabulary_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward_size,
        "hidden_activation": "silu" if config.feed_forward == "swiglu" else "gelu",
        "max_position_embeddings": config.max_positions,
        "norm_eps": config.layer_norm_epsilon,
        "initializer_range": config.initializer_range,
        LAYER_TYPES: _layer_types(config.layers, None if window is None else config.global_every),
        ROPE: {kind: {"rope_type": "default", "rope_theta": t} for kind, t in thetas.items()},
        **({} if window is None else {"local_attention": window}),
        **dict.fromkeys(BIASES, has_biases),
        "decoder_bias": config.bias != "none",
        "embedding_dropout": config.dropout,
        "mlp_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "pad_token_id": special.pad,
        "bos_token_id": special.cls,
        "cls_token_id": special.cls,
        "eos_token_id": special.sep,
        "sep_token_id": special.sep,
    }


def modernbert_shape(content: Mapping[str, Any]) -> ModelConfig:
    """The shape that a config.json describes; missing fields have transformers' defaults.

    Raises:
        InputError: it asks for something that our encoder does not compute.
    """
    check_values(content, ONE_VALUE)
    counts = {name: count(content, name, default) for name, default in COUNTS.items()}
    numbers = {name: number(content, name, default) for name, default in NUMBERS.items()}
    if numbers["embedding_dropout"] != numbers["mlp_dropout"]:
        raise InputError(
            f"embedding_dropout={numbers['embedding_dropout']} beside mlp_dropout="
            f"{numbers['mlp_dropout']}: there is one rate of dropout here: make them equal"
        )
    activation = content.get("hidden_activation", "gelu")
    if not isinstance(activation, str) or activation not in GATES:
        raise InputError(
            f"hidden_activation={shown(activation)} is not computed here, only gelu and silu: "
            "choose a model of that kind"
        )
    layers = counts["num_hidden_layers"]
    every = _global_every(content, layers, counts["global_attn_every_n_layers"])
    thetas = _thetas(content, numbers)
    return ModelConfig(
        architecture="modernbert",
        layers=layers,
        hidden_size=counts["hidden_size"],
        heads=counts["num_attention_heads"],
        feed_forward_size=counts["intermediate_size"],
        max_positions=counts["max_position_embeddings"],
        segment_types=0,
        dropout=numbers["mlp_dropout"],
        attention_dropout=numbers["attention_dropout"],
        layer_norm_epsilon=numbers["norm_eps"],
        initializer_range=numbers["initializer_range"],
        norm="pre",
        position="rope",
        feed_forward="swiglu" if GATES[activation] == "swiglu" else "geglu",
        bias=_bias(content),
        initialisation="megatron",
        rope_theta=thetas[0],
        rope_local_theta=thetas[1] if every else None,
        attention_window=counts["local_attention"] if every else None,
        global_every=every or COUNTS["global_attn_every_n_layers"],
    )


def _layer_types(layers: int, global_every: int | None) -> list[str]:
    return [LOCAL if global_every and n % global_every else GLOBAL for n in range(layers)]


def _global_every(content: Mapping[str, Any], layers: int, default: int) -> int | None:
    """A layer sees everything each time so many are done; None: every layer does."""
    kinds = content.get(LAYER_TYPES)
    if kinds is None:
        kinds = _layer_types(layers, default)
    known = isinstance(kinds, list) and all(kind in (GLOBAL, LOCAL) for kind in kinds)
    if not known or len(kinds) != layers:
        raise InputError(
            f"{LAYER_TYPES}={shown(kinds)} is no list of {GLOBAL} and {LOCAL}, one for each of "
            f"{layers} layers: correct it"
        )
    if LOCAL not in kinds:
        return None
    # Where only the first layer is global, the number beyond the last will do.
    every = kinds.index(GLOBAL, 1) if GLOBAL in kinds[1:] else layers
    if kinds != _layer_types(layers, every):
        raise InputError(
            f"{LAYER_TYPES}={shown(kinds)} is not computed here, only {GLOBAL} in the first layer "
            "and each time the same number of layers after it: choose a model of that kind"
        )
    return every


def _thetas(content: Mapping[str, Any], numbers: Mapping[str, float]) -> tuple[float, float]:
    """Of global and of local layers: in `rope_parameters`, or each in a field of its own."""
    parameters = content.get(ROPE)
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict) or parameters.keys() - {GLOBAL, LOCAL}:
        raise InputError(
            f"{ROPE}={shown(parameters)} is no table of {GLOBAL} and {LOCAL}: correct it"
        )
    thetas = []
    for kind, name in ((GLOBAL, "global_rope_theta"), (LOCAL, "local_rope_theta")):
        own = parameters.get(kind) or {}
        if not isinstance(own, dict) or own.keys() - {"rope_type", "rope_theta"}:
            raise InputError(
                f"{ROPE}.{kind}={shown(own)} is not computed here, only rope_type=default and "
                "rope_theta: choose a model of that kind"
            )
        own = {f"{ROPE}.{kind}.{key}": value for key, value in own.items()}
        check_values(own, {f"{ROPE}.{kind}.rope_type": ("default",)})
        thetas.append(number(own, f"{ROPE}.{kind}.rope_theta", numbers[name]))
    return thetas[0], thetas[1]


def _bias(content: Mapping[str, Any]) -> Literal["all", "none", "decoder"]:
    has = {name: switch(content, name, False) for name in BIASES}
    decoder = switch(content, "decoder_bias", True)
    if len(set(has.values())) == 1 and (decoder or not has[BIASES[0]]):
        return "all" if has[BIASES[0]] else "decoder" if decoder else "none"
    has["decoder_bias"] = decoder
    raise InputError(
        f"{', '.join(f'{name}={shown(value)}' for name, value in has.items())} is not computed "
        "here, only biases everywhere, in the decoder alone, or nowhere: choose a model of that "
        "kind"
    )
