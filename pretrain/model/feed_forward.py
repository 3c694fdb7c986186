"""Activations of the feed-forward part; gated ones take two halves of one product.

Axes: R rows, F inner width, `...` any.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.model.autograd import Context, Function

GATES: dict[str, Callable[[Tensor], Tensor]] = {"geglu": F.gelu, "swiglu": F.silu}
DERIVATIVES = {"geglu": torch.ops.aten.gelu_backward, "swiglu": torch.ops.aten.silu_backward}
"""(gradient of the activated, what was activated) to the latter's gradient"""


def activated(kind: str, inner: Tensor) -> Tensor:
    """What the output matrix multiplies, (..., F).

    Args:
        kind: `model.feed_forward`.
        inner: (..., F), or (..., 2 F) for a gated kind, the half that is activated first.
    """
    # Torch's compiler decides itself what is kept and what is computed again.
    if kind in GATES and not torch.compiler.is_compiling():
        gated: Tensor = Gate.apply(inner, kind)
        return gated
    return plainly_activated(kind, inner)


def plainly_activated(kind: str, inner: Tensor) -> Tensor:
    """The same by torch's own functions, which can be traced; autograd keeps more of it."""
    if kind in GATES:
        first, second = inner.chunk(2, -1)
        return GATES[kind](first) * second
    return F.gelu(inner) if kind == "gelu" else F.relu(inner).square()


class GateContext(Context):
    """What `Gate` keeps, beside tensors."""

    kind: str


class Gate(Function):
    """activation(first half) * second half (Shazeer 2020), of which nothing but the input is kept.

    Autograd would keep the activated half as well, a third more for each layer; computing it again
    costs a pass.
    """

    @staticmethod
    def forward(ctx: GateContext, inner: Tensor, kind: str) -> Tensor:
        """(..., 2 F) to (..., F)."""
        ctx.save_for_backward(inner)
        ctx.kind = kind
        first, second = _halves(inner)
        return GATES[kind](first).mul_(second)

    @staticmethod
    def backward(ctx: GateContext, gradient: Tensor) -> tuple[Tensor, None]:
        """The input's gradient, both halves in one tensor."""
        (inner,) = ctx.saved_tensors
        first, second = _halves(inner)
        inner_gradient = torch.empty_like(inner)
        of_first, of_second = inner_gradient.chunk(2, -1)
        torch.mul(gradient, GATES[ctx.kind](first), out=of_second)
        of_first.copy_(DERIVATIVES[ctx.kind](gradient * second, first))
        return inner_gradient, None


def _halves(inner: Tensor) -> tuple[Tensor, Tensor]:
    first, second = inner.chunk(2, -1)
    # A CPU activates what lies in one piece twice as fast.
    return (first.contiguous() if inner.device.type == "cpu" else first), second
