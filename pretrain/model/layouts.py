"""Hugging Face's names of weights, by family: BERT, RoBERTa, ModernBERT.

A *stem* is a weight's name without the final `.weight` or `.bias`; kinds are these two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

ENCODERS = {
    "bert": {
        "embeddings.word": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.segment": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "layers.{}.qkv": "encoder.layer.{}.attention.self",
        "layers.{}.attention_output": "encoder.layer.{}.attention.output.dense",
        "layers.{}.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
        "layers.{}.feed_forward_inner": "encoder.layer.{}.intermediate.dense",
        "layers.{}.feed_forward_output": "encoder.layer.{}.output.dense",
        "layers.{}.feed_forward_norm": "encoder.layer.{}.output.LayerNorm",
    },
    "modernbert": {
        "embeddings.word": "embeddings.tok_embeddings",
        "embeddings.norm": "embeddings.norm",
        "final_norm": "final_norm",
        "layers.{}.qkv": "layers.{}.attn.Wqkv",
        "layers.{}.attention_output": "layers.{}.attn.Wo",
        "layers.{}.attention_norm": "layers.{}.attn_norm",
        "layers.{}.feed_forward_inner": "layers.{}.mlp.Wi",
        "layers.{}.feed_forward_output": "layers.{}.mlp.Wo",
        "layers.{}.feed_forward_norm": "layers.{}.mlp_norm",
    },
}
"""our names of an encoder's parts to theirs, `{}` for the layer's number"""
ENCODERS["roberta"] = ENCODERS["bert"]
PREFIXES = {"bert": "bert", "roberta": "roberta", "modernbert": "model"}
"""of the encoder in a model with heads"""
HEADS = {
    "bert": {
        "mlm_head": "cls.predictions",
        "mlm_head.dense": "cls.predictions.transform.dense",
        "mlm_head.norm": "cls.predictions.transform.LayerNorm",
        "mlm_head.decoder": "cls.predictions.decoder",
        "nsp_head.pooler": "bert.pooler.dense",
        "nsp_head.classifier": "cls.seq_relationship",
    },
    "roberta": {
        "mlm_head": "lm_head",
        "mlm_head.dense": "lm_head.dense",
        "mlm_head.norm": "lm_head.layer_norm",
        "mlm_head.decoder": "lm_head.decoder",
    },
    "modernbert": {
        "mlm_head": "decoder",
        "mlm_head.dense": "head.dense",
        "mlm_head.norm": "head.norm",
        "mlm_head.decoder": "decoder",
    },
}
KINDS = {"mlm_head": ("bias",), "mlm_head.decoder": ("weight",)}
"""what there is of a part, if not weight and bias"""
PROJECTIONS = ("query", "key", "value")
FUSED = "attention.self"
"""where BERT has a tensor for each projection, and we one for all three"""
DECODERS = {
    "bert": ("cls.predictions.decoder", "cls.predictions"),
    "roberta": ("lm_head.decoder", "lm_head"),
    "modernbert": ("decoder", "decoder"),
}
"""(the decoder, where its bias stands): BERT and RoBERTa have the bias under either name"""
BARE = {
    "bert": ("embeddings.", "encoder.", "pooler."),
    "roberta": ("embeddings.", "encoder.", "pooler."),
    "modernbert": ("embeddings.", "layers.", "final_norm."),
}
"""how names begin in an encoder that was saved without heads, and so without its prefix"""
INSIDE = {
    "bert": ("bert.embeddings.", "bert.encoder."),
    "roberta": ("roberta.embeddings.", "roberta.encoder."),
    "modernbert": ("model.",),
}
"""how the names of an encoder's own weights begin"""
OWN = {
    "bert": ("bert.", "cls."),
    "roberta": ("roberta.", "lm_head."),
    "modernbert": ("model.", "head.", "decoder.", "embeddings.tok_embeddings."),
}
"""how only this family's names begin"""
CLASSIFIER = "classifier.weight"


def family_of(names: Iterable[str]) -> str:
    """The family that names of weights are of; that of bare BERT and RoBERTa encoders is bert."""
    names = list(names)
    for family in ("roberta", "modernbert"):
        if any(name.startswith(OWN[family]) for name in names):
            return family
    return "bert"


def encoder_stems(layers: int, family: str) -> dict[str, str]:
    """Our stems of an encoder's parts to theirs."""
    stems: dict[str, str] = {}
    for ours, theirs in ENCODERS[family].items():
        for index in range(layers) if "{}" in ours else (0,):
            stems[f"encoder.{ours.format(index)}"] = f"{PREFIXES[family]}.{theirs.format(index)}"
    return stems


def all_stems(names: Iterable[str], family: str) -> dict[str, str]:
    """The same with the heads, for the layers that there are."""
    names = set(names)
    qkv = ENCODERS[family]["layers.{}.qkv"].partition("{}")[2]
    layers = sum(name.endswith((f"{qkv}.weight", f"{qkv}.query.weight")) for name in names)
    # ModernBERT's classes for tasks have a head of their own under the MLM head's name.
    heads = {} if family == "modernbert" and CLASSIFIER in names else HEADS[family]
    return encoder_stems(layers, family) | heads


def places(names: Iterable[str], family: str) -> Iterator[tuple[str, str]]:
    """(our name, theirs) of each weight that has a place here, query, key and value as one."""
    for ours, theirs in all_stems(names, family).items():
        for kind in KINDS.get(ours, ("weight", "bias")):
            yield f"{ours}.{kind}", f"{theirs}.{kind}"
