"""The losses of all kinds of tasks, as sums: what they are divided by is global (law 2).

Axes: B sequences, T tokens, C classes, L longest sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from configs.finetune_schema import HeadConfig
from pretrain.model.loss import IGNORED
from pretrain.model.packing import Packing


class TaskLoss(nn.Module):
    """Summed loss of a micro-batch's logits.

    Args:
        kind: the task's.
        class_weights: float32 (C), or None where all classes weigh 1.
    """

    class_weights: Tensor | None

    def __init__(self, kind: str, config: HeadConfig, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.kind, self.config = kind, config
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor, packing: Packing) -> Tensor:
        """A float32 scalar."""
        if self.kind == "regression":
            return (logits[:, 0] - targets).square().sum()
        if self.kind == "span":
            return span_loss(logits, targets.view(-1, 2), packing)
        if self.kind == "choice":
            return F.cross_entropy(logits.view(len(targets), -1), targets, reduction="sum")
        if self.config.loss == "focal":
            return focal_loss(logits, targets, self.config.focal_gamma, self.class_weights)
        return F.cross_entropy(
            logits,
            targets,
            self.class_weights,
            ignore_index=IGNORED,
            label_smoothing=self.config.label_smoothing,
            reduction="sum",
        )

    def weight(self, targets: Tensor) -> float:
        """What the targets add to the divisor: their number, or the sum of their classes' weights.

        With class weights this makes the quotient PyTorch's weighted mean.
        """
        if self.kind == "span":
            return len(targets) / 2
        if self.kind == "regression":
            return float(len(targets))
        counted = targets[targets != IGNORED]
        if self.class_weights is None:
            return float(len(counted))
        return float(self.class_weights.cpu()[counted].sum())


def focal_loss(
    logits_BC: Tensor, targets_B: Tensor, gamma: float, weights: Tensor | None
) -> Tensor:
    """Cross entropy times (1 - p)^gamma, p the right class's probability (Lin et al., 2017)."""
    entropy_B = F.cross_entropy(logits_BC, targets_B, reduction="none")
    # Where p is 1, a gamma below 1 would have an infinite slope.
    wrong_B = (-torch.expm1(-entropy_B)).clamp(min=torch.finfo(entropy_B.dtype).tiny)
    weighted_B = entropy_B * wrong_B**gamma
    return (weighted_B if weights is None else weighted_B * weights[targets_B]).sum()


def span_loss(logits_T2: Tensor, targets_B2: Tensor, packing: Packing) -> Tensor:
    """Mean of the start's and the end's cross entropy over a sequence's places, summed over B."""
    # Places past a sequence's end must not take part in its softmax.
    padded_BL2 = packing.pad(logits_T2) + packing.score_bias_BL[..., None]
    start, end = (
        F.cross_entropy(padded_BL2[..., side], targets_B2[:, side], reduction="sum")
        for side in (0, 1)
    )
    return (start + end) / 2


def balanced_weights(targets: Sequence[int], classes: int) -> Tensor:
    """n / (classes x count) of each class, as scikit-learn's `balanced`; float32 (C).

    Classes without an example weigh 0.
    """
    counts = np.bincount(targets, minlength=classes)
    weights = np.divide(len(targets), classes * counts, where=counts > 0, out=np.zeros(classes))
    return torch.from_numpy(weights).float()
