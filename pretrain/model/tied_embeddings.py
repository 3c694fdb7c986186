"""The word embeddings at both ends of the model: looked up, and as the decoder's weights.

BERT ties the two, so each step has two gradients for one matrix, the largest of all. Autograd would
make both whole and add them into a third; here the decoder's is made once and the look-up adds its
few rows to it. On a CPU, with a vocabulary of 30,000, that is a tenth of a small model's step.

Axes: T tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.model.autograd import Context, Function


class TiedGradient:
    """Where the decoder leaves its gradient of the embeddings until the look-up collects it.

    The look-up comes first in the model, so autograd reaches it last: what it hands on is complete.
    """

    def __init__(self) -> None:
        self._waiting: Tensor | None = None

    def leave(self, gradient_VD: Tensor) -> None:
        """Keep a gradient; those of several decoders add up."""
        if self._waiting is not None:
            gradient_VD = gradient_VD.add_(self._waiting)
        self._waiting = gradient_VD

    def collect(self, like: Tensor) -> Tensor:
        """What was left, or zeros like a tensor."""
        gradient, self._waiting = self._waiting, None
        return torch.zeros_like(like) if gradient is None else gradient


class LookUpContext(Context):
    """What `LookUp` keeps."""

    tied: TiedGradient


class LookUp(Function):
    """Rows of the embeddings: weights (V, D), tokens (T,) -> (T, D)."""

    @staticmethod
    def forward(
        ctx: LookUpContext, word_VD: Tensor, tokens_T: Tensor, tied: TiedGradient
    ) -> Tensor:
        """The tokens' rows."""
        ctx.save_for_backward(word_VD, tokens_T)
        ctx.tied = tied
        return F.embedding(tokens_T, word_VD)

    @staticmethod
    def backward(ctx: LookUpContext, gradient_TD: Tensor) -> tuple[Tensor, None, None]:
        """The embeddings' gradient, the decoder's share included."""
        word_VD, tokens_T = ctx.saved_tensors
        # Into the decoder's own tensor, which is of the size of the embeddings anyway.
        gradient_VD = ctx.tied.collect(word_VD)
        add_rows(gradient_VD, tokens_T, gradient_TD)
        return gradient_VD, None, None


def add_rows(target: Tensor, rows_N: Tensor, values: Tensor) -> None:
    """Add each of the N values to a row of the target, in the same order every time.

    torch can do it in several ways, of which each kind of device has one that keeps an order: on
    several CPU threads `index_put_` adds as they arrive, and so does `index_add_` on CUDA.
    """
    if target.device.type == "cpu":
        target.index_add_(0, rows_N, values)
    else:
        target.add_(summed_by_row(rows_N, values, len(target)))


def summed_by_row(rows_N: Tensor, values: Tensor, size: int) -> Tensor:
    """(size, ...): the sum of the values of each row.

    CUDA's `index_put_` also sorts the rows and keeps their order, but adds the values of one row
    one after the other, and a masked batch has thousands of one token. This kernel, that of an
    embedding's gradient, adds pieces of them side by side, for one more pass over the result.
    """
    flat_NK = values if values.dim() > 1 else values[:, None]
    sums: Tensor = torch.ops.aten.embedding_dense_backward(flat_NK, rows_N, size, -1, False)
    return sums.view(size, *values.shape[1:])
