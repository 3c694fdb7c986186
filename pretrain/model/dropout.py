"""Dropout as a function of the sample (law 1), not of a generator's state.

On a CPU the mask of every dropout site is a function of (the sample's dropout key, the number of
the site) alone: bytes from numpy's Philox4x64-10 under that key, the site in the counter's last
word, an element dropped where its byte lies below round(256 p). Masks are therefore the same for
any grouping into micro-batches, any number of ranks, recomputation under activation checkpointing
and resumption.

On an accelerator the masks are torch's own, drawn inside its kernels from the Philox generator of
the device. The trainer seeds that with `torch.manual_seed` before each micro-batch, which makes
the masks a function of (seed, step, micro-batch) instead.

Axes: T tokens, D hidden size, B sequences, H heads, L longest sequence.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.model.packing import Packing


class Drop(torch.autograd.Function):
    """values x kept x factor, of which a byte an element waits for the backward pass.

    A product of floats and bytes takes torch four times as long as turning the bytes into floats
    first. The factor stays out of the mask: bfloat16 would round it by up to 0.4 %.
    """

    @staticmethod
    def forward(ctx, values: Tensor, kept: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.factor = factor
        return kept.to(values.dtype).mul_(values).mul_(factor)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return kept.to(gradient.dtype).mul_(gradient).mul_(ctx.factor), None, None


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

    def forward(self, values: Tensor, packing: Packing, needed_N: Tensor | None = None) -> Tensor:
        """`values` with elements dropped and the rest scaled up; any dtype, same shape.

        Args:
            needed_N: the tokens that the rows of `values` are of; None: all.
        """
        if not self.rate:
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.rate)
        dropped = threshold(self.rate)
        kept = self.kept(values, packing, dropped)
        if needed_N is not None:
            kept = kept[needed_N]
        return Drop.apply(values, kept, 256 / (256 - dropped))

    def kept(self, hidden_TD: Tensor, packing: Packing, dropped: int) -> Tensor:
        """uint8 (T, D): 1 where an element stays."""
        width = hidden_TD.shape[1]
        samples = zip(packing.dropout_keys, packing.lengths, strict=True)
        return torch.cat([draw_kept(dropped, key, self.site, n, width) for key, n in samples])

    def extra_repr(self) -> str:
        return f"{self.probability}, site={self.site}"


class AttentionDropout(Dropout):
    """Dropout of attention probabilities, in the padded layout (B, H, L, L)."""

    def kept(self, probabilities_BHLL: Tensor, packing: Packing, dropped: int) -> Tensor:
        """uint8 (B, H, L, L), 0 beyond a sample's own length, which alone decides its draws."""
        kept = torch.zeros(probabilities_BHLL.shape, dtype=torch.uint8)
        heads = probabilities_BHLL.shape[1]
        for kept_HLL, key, n in zip(kept, packing.dropout_keys, packing.lengths, strict=True):
            kept_HLL[:, :n, :n] = draw_kept(dropped, key, self.site, heads, n, n)
        return kept


def threshold(rate: float) -> int:
    """How many of a byte's 256 values mean "drop"; at least one means "keep"."""
    return min(round(256 * rate), 255)


def draw_kept(dropped: int, key: int, site: int, *shape: int) -> Tensor:
    """uint8 of `shape`, 1 with probability 1 - dropped / 256; a function of (key, site).

    Not bool, by which torch multiplies three times as slowly.
    """
    size = prod(shape)
    words = np.random.Philox(key=key, counter=[0, 0, 0, site]).random_raw(-(-size // 8))
    kept = words.view(np.uint8)[:size] >= dropped
    return torch.from_numpy(kept.view(np.uint8)).view(shape)
