"""What the classes of `transformers` can hold: BERT's, RoBERTa's and ModernBERT's.

`model.architecture` names the family that a model is exported to. Every combination of fields
trains; one that the family's classes have no place for is told as soon as the configuration is
read, and kept in this project's own layout.
"""

from __future__ import annotations

from configs.model_schema import ModelConfig

CLASSES = {
    "bert": "BertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "modernbert": "ModernBertForMaskedLM",
}
_OF_2019: dict[str, tuple[object, ...]] = {
    "norm": ("post",),
    "norm_kind": ("layernorm",),
    "qk_norm": (False,),
    "position": ("learned",),
    "feed_forward": ("gelu",),
    "bias": ("all",),
    "attention_window": (None,),
    "segment_types": (1, 2),
}
HELD: dict[str, dict[str, tuple[object, ...]]] = {
    "bert": _OF_2019,
    "roberta": _OF_2019,
    "modernbert": {
        "norm": ("pre",),
        "norm_kind": ("layernorm",),
        "qk_norm": (False,),
        "position": ("rope",),
        "feed_forward": ("geglu", "swiglu"),
        "segment_types": (0,),
    },
}
"""by family: the values of a field that its classes compute; of other fields, all"""

DECIDING = (
    *("norm", "norm_kind", "qk_norm", "position", "rope_theta", "rope_local_theta"),
    *("feed_forward", "bias", "attention_window", "global_every"),
)
"""fields that decide what weights of the same shapes compute"""


def not_held(model: ModelConfig) -> list[str]:
    """The fields that the family's classes have no place for, each as `model.norm=pre`."""
    return [
        f"model.{name}={_shown(getattr(model, name))}"
        for name, values in HELD[model.architecture].items()
        if getattr(model, name) not in values
    ]


def export_note(model: ModelConfig) -> str | None:
    """The line that says what a model is exported to, where that is no class of transformers."""
    fields = not_held(model)
    if not fields:
        return None
    return (
        f"export: {CLASSES[model.architecture]} has no place for {', '.join(fields)}, so that no "
        "class of transformers holds this model: it is kept in masklab's own layout, which "
        "fine-tuning reads, and exports to ONNX"
    )


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
