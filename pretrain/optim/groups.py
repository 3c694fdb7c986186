"""Parameter groups: what weight decay (and LAMB's layer adaptation) leaves alone."""

from __future__ import annotations

from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups that cover every parameter once: matrices, and the rest without decay.

    Biases and LayerNorm weights, all of one dimension, are exempt as in BERT's released optimizer
    and in LAMB (You et al., 2019, appendix).
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay, "layer_adaptation": True},
        {"params": vectors, "weight_decay": 0.0, "layer_adaptation": False},
    ]
