"""StableAdamW: AdamW that slows a tensor down where its second moment lags behind its gradient
(Wortsman et al., 2023, algorithm 2; the clipping of updates is Adafactor's, Shazeer and Stern,
2018).

After a sudden change the second moment still tells of smaller gradients, and AdamW's step is too
long: what shows as a spike of the loss. ModernBERT (Warner et al., 2024, section 2.2) trained with
it instead of clipping the gradient's norm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pretrain.optim.adam import AdamMoments


class StableAdamW(AdamMoments):
    """AdamW whose rate is divided, tensor by tensor, by RMS = sqrt(mean(g^2 / v)) where that is
    above 1; v is the bias-corrected second moment that has seen g. Weight decay follows the same
    rate. Query, key and value are one tensor, and so have one RMS."""

    def update(
        self,
        group: dict[str, Any],
        parameters: list[Tensor],
        gradients: list[Tensor],
        taken: Tensor,
    ) -> None:
        """AdamW's step with each tensor's rate divided by max(1, RMS)."""
        first, roots, steps = self.moments(group, parameters, gradients, taken)
        slower = slowing(gradients, roots, group["eps"])
        direction = self.direction(group, first, roots, steps)
        if group["weight_decay"]:
            torch._foreach_add_(direction, parameters, alpha=group["weight_decay"])
        torch._foreach_mul_(direction, [taken / factor for factor in slower])
        torch._foreach_add_(parameters, direction, alpha=-group["lr"])


def slowing(gradients: list[Tensor], roots: tuple[Tensor, ...], eps: float) -> list[Tensor]:
    """max(1, sqrt(mean(g^2 / max(v, eps^2)))) of each tensor, from the roots of v; no host sync."""
    ratios = torch._foreach_div(gradients, torch._foreach_clamp_min(roots, eps))
    norms = torch._foreach_norm(ratios)
    return [(norm / g.numel() ** 0.5).clamp(min=1) for norm, g in zip(norms, gradients)]
