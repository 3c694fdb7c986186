"""What torch hands from the forward to the backward pass of a function of ours, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

if TYPE_CHECKING:

    class Function(torch.autograd.Function):
        """torch's own, whose `apply` has no annotations."""

        @classmethod
        def apply(cls, *arguments: Any) -> Any:  # noqa: ANN401  # each function has its own
            """Compute `forward`, and have `backward` called when gradients are wanted."""

else:
    Function = torch.autograd.Function


class Context(FunctionCtx):
    """The first argument of `forward` and `backward`; torch makes it, and a function adds to it."""

    saved_tensors: tuple[Tensor, ...]
    """what `save_for_backward` was given"""
    needs_input_grad: tuple[bool, ...]
    """of each argument of `forward`"""


class SizedContext(Context):
    """That of a function whose input had so many rows."""

    size: int
