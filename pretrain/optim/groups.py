"""Parameter groups: what weight decay (and LAMB's layer adaptation) leaves alone, and how fast each
layer learns."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups that cover every trained parameter once.

    Biases and LayerNorm weights, all of one dimension, are exempt from decay as in BERT's released
    optimizer and in LAMB (You et al., 2019, appendix).

    Args:
        layer_decay: a layer's `rate_scale` is this times that of the layer above it; heads have 1
            (ELECTRA, Clark et al., 2020, appendix B). With 1 there are two groups.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # With one rate for all, depths would only split the groups that a fused update handles
            # in one go.
            depth = layers_above(name, model) if layer_decay != 1 else 0
            groups[depth, parameter.ndim > 1].append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "layer_adaptation": is_matrix,
            "rate_scale": layer_decay**depth,
        }
        for (depth, is_matrix), parameters in groups.items()
    ]


def layers_above(name: str, model: nn.Module) -> int:
    """How many steps a parameter lies below the head: 0 there, 1 in the last layer and its norm."""
    if not name.startswith("encoder."):
        return 0
    if name.startswith("encoder.final_norm."):
        return 1
    layers = len(model.get_submodule("encoder.layers"))  # type: ignore[arg-type]  # a ModuleList
    in_layer = re.match(r"encoder\.layers\.(\d+)\.", name)
    return layers - int(in_layer[1]) if in_layer else layers + 1
