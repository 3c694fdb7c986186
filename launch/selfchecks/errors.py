"""How far a result is from the exact one, and how far it may be."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SLACK = 3.0
"""times the plain computation's error and one rounding of the type, which ours may be off by"""


class Errors(NamedTuple):
    """Relative to the norm of the exact result."""

    ours: float
    plain: float
    """of the same computation in the same type, written down as simply as possible"""


def relative_error(found: Tensor, exact: Tensor) -> float:
    """|found - exact| / |exact|, of all elements together; infinite for what is not finite."""
    if not bool(found.isfinite().all()):
        return float("inf")
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def within(errors: Errors, dtype: torch.dtype) -> bool:
    """Whether ours is as good as the plain one, but for chance; that may be exact, as it is for a
    sequence of one token."""
    return errors.ours <= SLACK * (errors.plain + torch.finfo(dtype).eps)
