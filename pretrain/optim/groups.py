"""Parameter groups: what weight decay (and LAMB's layer adaptation) leaves alone, how fast each
layer learns, and which matrices are Muon's."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from torch import Tensor, nn

from configs.errors import InputError


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    layer_decay: float,
    matrix_scale: float | None = None,
) -> list[dict[str, Any]]:
    """Groups that cover every trained parameter once.

    Biases and LayerNorm weights, all of one dimension, are exempt from decay as in BERT's released
    optimizer and in LAMB (You et al., 2019, appendix).

    Args:
        layer_decay: a layer's `rate_scale` is this times that of the layer above it; heads have 1
            (ELECTRA, Clark et al., 2020, appendix B). With 1 there are two groups.
        matrix_scale: the layers' matrices stand in groups of their own, whose `matrices` tells how
            many a parameter holds, and learn at this times the rate of the others; None: they do
            not.
    Raises:
        InputError: there are no such matrices.
    """
    groups: dict[tuple[int, bool, int], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # With one rate for all, depths would only split the groups that a fused update handles
            # in one go.
            depth = layers_above(name, model) if layer_decay != 1 else 0
            matrices = 0 if matrix_scale is None else layer_matrices(name, parameter, model)
            groups[depth, parameter.ndim > 1, matrices].append(parameter)
    if matrix_scale is not None and not any(matrices for _, _, matrices in groups):
        raise InputError("optimizer.name=muon: no layer has a matrix to train: use adamw")
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "layer_adaptation": is_matrix,
            "rate_scale": layer_decay**depth * (matrix_scale if matrix_scale and matrices else 1),
            "matrices": matrices,
        }
        for (depth, is_matrix, matrices), parameters in groups.items()
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


def layer_matrices(name: str, parameter: Tensor, model: nn.Module) -> int:
    """How many matrices lie one below the other in this parameter of a layer; 0 elsewhere."""
    found = re.match(r"(encoder\.layers\.\d+)\.(\w+)\.weight$", name)
    if found is None or parameter.ndim != 2:
        return 0
    if found[2] == "qkv":
        return 3
    if found[2] == "feed_forward_inner":
        # A gated one holds the gate's matrix as well.
        output = model.get_parameter(f"{found[1]}.feed_forward_output.weight")
        return parameter.shape[0] // output.shape[1]
    return 1


def moments_elements(model: nn.Module, optimizer: str) -> int:
    """Numbers that an update rule keeps from step to step: two of each weight, but one of each in
    Muon's matrices."""
    elements = 0
    for name, parameter in model.named_parameters():
        is_muons = optimizer == "muon" and layer_matrices(name, parameter, model) > 0
        elements += (1 if is_muons else 2) * parameter.numel()
    return elements
