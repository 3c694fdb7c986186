"""LAMB: layer-wise adaptive moments for large batches (You et al., 2019, algorithm 2).

DeepSpeed's LAMB has no CPU version and refuses bf16, and under ZeRO a tensor's norm would be that
of a piece; hence this one, to be run at ZeRO 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pretrain.optim.adam import AdamMoments


class Lamb(AdamMoments):
    """Adam's direction plus decoupled weight decay, rescaled per tensor by |weights| / |direction|.

    Query, key and value are one tensor here, and so share a trust ratio where BERT's have three.

    Groups with `layer_adaptation` False (biases, LayerNorm) keep a trust ratio of 1, as in the
    authors' implementation; a group that does not say adapts where it decays.
    """

    def update(
        self,
        group: dict[str, Any],
        parameters: list[Tensor],
        gradients: list[Tensor],
        taken: Tensor,
    ) -> None:
        """Move each tensor by lr x |weights|, whatever the size of its gradient."""
        first, roots, steps = self.moments(group, parameters, gradients, taken)
        direction = self.direction(group, first, roots, steps)
        # Weight decay is a part of the direction whose norm is taken (algorithm 2, line 8), unlike
        # in AdamW.
        if group["weight_decay"]:
            torch._foreach_add_(direction, parameters, alpha=group["weight_decay"])
        if group.get("layer_adaptation", group["weight_decay"] > 0):
            # The layer moves by lr x |weights|, however large its gradient is: what lets batches
            # grow without layers of small weights being thrown far off.
            torch._foreach_mul_(direction, trust_ratios(parameters, direction))
        torch._foreach_mul_(direction, taken)
        torch._foreach_add_(parameters, direction, alpha=-group["lr"])


def trust_ratios(parameters: list[Tensor], direction: tuple[Tensor, ...]) -> list[Tensor]:
    """|weights| / |direction| of each tensor, 1 where either is 0; no host sync."""
    weight_norms = torch._foreach_norm(parameters)
    direction_norms = torch._foreach_norm(direction)
    return [
        torch.where((w > 0) & (d > 0), w / d, torch.ones_like(w))
        for w, d in zip(weight_norms, direction_norms)
    ]
