"""Dropout as a function of the sample (law 1), not of a generator's state.

On a CPU the mask of every dropout site is a function of (the sample's dropout key, the number of
the site) alone: bytes from numpy's Philox4x64-10 under that key, the site in the counter's last
word, an element dropped where its byte lies below round(256 p). Masks are therefore the same for
any grouping into micro-batches, any number of ranks, recomputation under activation checkpointing
and resumption.

On an accelerator the masks are torch's own, drawn inside its kernels from the Philox generator of
the device. The trainer seeds that with `torch.manual_seed` before each micro-batch, which makes
the masks a function of (seed, step, micro-batch) instead.

Axes: T tokens, R rows (T rounded up), D hidden size, B sequences, H heads, L padded length.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.model.autograd import Context, Function
from pretrain.model.packing import Packing


class Drop(Function):
    """values x kept, of which a byte an element waits for the backward pass.

    A product of floats and bytes takes torch longer than turning the bytes into floats first.
    """

    @staticmethod
    def forward(ctx: Context, values: Tensor, kept: Tensor) -> Tensor:
        """Any shape, of which `kept` has a byte an element."""
        ctx.save_for_backward(kept)
        return kept.to(values.dtype).mul_(values)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None]:
        """The values' gradient."""
        (kept,) = ctx.saved_tensors
        return kept.to(gradient.dtype).mul_(gradient), None


class Dropout(nn.Module):
    """Dropout of hidden states.

    `site` numbers the places of dropout within a model: no two may share one.
    """

    def __init__(self, probability: float, site: int) -> None:
        super().__init__()
        self.probability, self.site = probability, site

    @property
    def rate(self) -> float:
        """The probability to drop an element now: 0 in evaluation."""
        return self.probability if self.training else 0.0

    def forward(self, values: Tensor, packing: Packing) -> Tensor:
        """`values` with elements dropped and the rest scaled up; any dtype, same shape."""
        dropped, factor = self.drop(values, packing)
        return dropped if factor == 1.0 else dropped * factor

    def drop(
        self, values: Tensor, packing: Packing, needed_N: Tensor | None = None
    ) -> tuple[Tensor, float]:
        """`values` (any dtype) with elements dropped, and the factor that makes up for them.

        Whoever uses the values multiplies where that costs least: within a sum, or after a product.
        It stays out of the mask, for bfloat16 would round it by up to 0.4 %.

        Args:
            needed_N: the tokens that the rows of `values` are of; None: all.
        """
        if not self.rate:
            return values, 1.0
        if values.device.type != "cpu":
            return F.dropout(values, self.rate), 1.0
        dropped = threshold(self.rate)
        kept = self.kept(values, packing, dropped)
        kept = kept[: len(values)] if needed_N is None else kept[needed_N]
        return Drop.apply(values, kept), 256 / (256 - dropped)

    def kept(self, values: Tensor, packing: Packing, dropped: int) -> Tensor:
        """uint8 (R, D): 1 where an element stays, 0 in rows of no token."""
        kept_RD = torch.empty(packing.rows, values.shape[1], dtype=torch.uint8)
        kept_TD = kept_RD[: packing.tokens]
        kept_RD[packing.tokens :] = 0
        # One sample after the other, each from its own key: its mask is the same in any batch.
        samples = zip(kept_TD.split(packing.lengths), packing.dropout_keys, strict=True)
        for part, key in samples:
            draw_kept(part, dropped, key, self.site)
        return kept_RD

    def extra_repr(self) -> str:
        """Shown by torch between the brackets."""
        return f"{self.probability}, site={self.site}"


class AttentionDropout(Dropout):
    """Dropout of attention probabilities, in the padded layout (B, H, L, L)."""

    def kept(self, values: Tensor, packing: Packing, dropped: int) -> Tensor:
        """uint8 (B, H, L, L), 0 beyond a sample's own length, which alone decides its draws."""
        kept = torch.zeros(values.shape, dtype=torch.uint8)
        for kept_HLL, key, n in zip(kept, packing.dropout_keys, packing.lengths, strict=True):
            own = kept_HLL[:, :n, :n]
            part = own.contiguous()  # itself, where there is no padding
            draw_kept(part, dropped, key, self.site)
            if part is not own:
                own.copy_(part)
        return kept


def threshold(rate: float) -> int:
    """How many of a byte's 256 values mean "drop"; at least one means "keep"."""
    return min(round(256 * rate), 255)


def draw_kept(kept: Tensor, dropped: int, key: int, site: int) -> None:
    """Fill a contiguous uint8 tensor: 1 with probability 1 - dropped / 256, by (key, site) alone.

    Not bool, by which torch multiplies more slowly.
    """
    # A word has 8 bytes, each of which decides about one element: 256 steps of probability are
    # enough, and a float for every element would take eight times as long.
    flags = kept.view(-1).numpy().view(bool)
    words = np.random.Philox(key=key, counter=[0, 0, 0, site]).random_raw(-(-flags.size // 8))
    np.greater_equal(words.view(np.uint8)[: flags.size], dropped, out=flags)
