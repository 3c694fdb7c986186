"""The configurations of which every pair of the encoder's choices is in one: rows and their names.

`documents` (whether sequences hold several) and `pairs` (whether there is an NSP head) are choices
of what is trained; all others are fields of `model`.
"""

from __future__ import annotations

import torch

from configs.schema import ModelConfig
from pretrain.model.pretraining import PretrainingModel
from tests.unit.pretrain.model.covering import Row, covering_array
from tests.unit.pretrain.model.examples import PAD, VOCABULARY, tiny

AXES: dict[str, tuple[object, ...]] = {
    "norm": ("post", "pre"),
    "norm_kind": ("layernorm", "rmsnorm"),
    "qk_norm": (False, True),
    "position": ("learned", "rope", "alibi", "none"),
    "feed_forward": ("gelu", "geglu", "swiglu", "relu2"),
    "bias": ("all", "none", "decoder"),
    "initialisation": ("normal", "megatron", "zero-output"),
    "tied": (True, False),
    "attention_window": (None, 4),
    "segment_types": (1, 0, 2),
    "heads": (4, 2),
    "documents": (False, True),
    "pairs": (False, True),
}
ROWS = covering_array(AXES)
NOT_OF_THE_MODEL = ("documents", "pairs")


def name(row: Row) -> str:
    """What a row chooses, in the order of the axes."""
    return "-".join(str(value) for value in row.values())


def shape(row: Row, **choices: object) -> ModelConfig:
    """Three layers: the first global, the second local, where there is a window."""
    own = {name: value for name, value in row.items() if name not in NOT_OF_THE_MODEL}
    own["architecture"] = "bert" if row["pairs"] else "roberta"
    if row["position"] == "rope":
        own["rope_theta"] = 50.0
        if row["attention_window"]:
            own["rope_local_theta"] = 20.0
    if row["attention_window"]:
        own["global_every"] = 2
    return tiny(layers=3, **own | choices)


def empty_model(row: Row, recompute: bool = False, **choices: object) -> PretrainingModel:
    """The model of a row, its weights not yet set."""
    config = shape(row, **choices)
    return PretrainingModel(config, VOCABULARY, PAD, bool(row["pairs"]), recompute)


def random_weights(model: PretrainingModel) -> PretrainingModel:
    """Norms near 1, all else random: no parameter may be forgotten, and none drowns another."""
    torch.manual_seed(0)
    for key, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.3)
        if "norm" in key and key.endswith("weight"):
            parameter.data += 1
    return model
