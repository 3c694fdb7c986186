"""Hinge losses, as means over examples.

Axes: N examples, C classes.
"""

from __future__ import annotations

from torch import Tensor


def binary_hinge(scores_N: Tensor, signs_N: Tensor) -> Tensor:
    """max(0, 1 - y s), y being -1 or 1 (Cortes and Vapnik, 1995)."""
    return (1 - signs_N * scores_N).clamp(min=0).mean()


def multiclass_hinge(scores_NC: Tensor, classes_N: Tensor) -> Tensor:
    """The sum over j != y of max(0, s_j - s_y + 1) (Weston and Watkins, 1999)."""
    right_N1 = scores_NC.gather(1, classes_N[:, None])
    margins_NC = (scores_NC - right_N1 + 1).clamp(min=0)
    # The right class itself adds exactly 1.
    return (margins_NC.sum(1) - 1).mean()
