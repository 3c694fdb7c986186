"""What a token sees: its sequence or a window of it, its document or all, and how distance counts.

Axes: B sequences, L padded length, H heads, N blocks, W tokens of a block, U keys of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from configs.schema import ModelConfig
from pretrain.model.packing import Packing

WORTH_BLOCKS = 8
"""a sequence of as many blocks is computed block by block, each against three and not against all
(measured on a CPU: at eight about as fast, at sixteen 2 to 5 times, at thirty-two 3 to 10 times)"""
LEAST_BLOCK = 32
"""tokens; of smaller blocks the products are too small to be fast"""


@dataclass(frozen=True)
class Scope:
    """What a layer's tokens see of their sequence."""

    reach: int | None = None
    """tokens on each side, as |i - j| <= reach; None: the whole sequence"""
    alibi: bool = False
    """whether scores fall with distance (Press et al. 2022): less slope x |i - j|, the symmetric
    form for encoders"""

    @property
    def is_whole(self) -> bool:
        """Whether everything is seen, and distance does not count."""
        return self == WHOLE


WHOLE = Scope()


def scope_of(config: ModelConfig, layer: int) -> Scope:
    """Of a layer, counted from 0."""
    window = config.attention_window
    is_local = window is not None and layer % config.global_every != 0
    return Scope(window // 2 if window and is_local else None, config.position == "alibi")


def scopes_of(config: ModelConfig) -> list[Scope]:
    """Of every layer."""
    return [scope_of(config, layer) for layer in range(config.layers)]


def slopes(heads: int) -> list[float]:
    """Of each head: 2^(-8 i / H) for i from 1, where H is a power of two (Press et al. 2022).

    Otherwise those of the power of two below, and then every other one of that above, as in the
    authors' code.
    """
    power = 1 << (heads.bit_length() - 1)
    own = [2.0 ** (-8 * i / power) for i in range(1, power + 1)]
    return own + [2.0 ** (-4 * i / power) for i in range(1, 2 * (heads - power), 2)]


def seen_pairs(lengths: np.ndarray, reach: int | None) -> int:
    """Pairs of tokens that see each other, each token with itself too.

    Args:
        lengths: tokens of each sequence, or of each document where attention ends there.
    """
    if reach is None:
        return int((lengths**2).sum())
    # At the distances 1 to m there are n - 1 to n - m pairs, each of them both ways.
    m = np.minimum(reach, np.maximum(lengths - 1, 0))
    return int((lengths + 2 * m * lengths - m * (m + 1)).sum())


@dataclass(frozen=True)
class Blocks:
    """How queries are grouped: N blocks of W, each of which is scored against U keys."""

    count: int
    size: int
    is_banded: bool
    """keys are those of the block, the one before and the one after; otherwise all of them"""

    @property
    def keys(self) -> int:
        """U."""
        return 3 * self.size if self.is_banded else self.size

    @classmethod
    def of(cls, scope: Scope, longest: int) -> Blocks:
        """As few keys as a window allows, where that pays."""
        if scope.reach is not None:
            size = max(scope.reach, LEAST_BLOCK)
            if longest >= WORTH_BLOCKS * size:
                return cls(-(-longest // size), size, True)
        return cls.one(longest)

    @classmethod
    def one(cls, longest: int) -> Blocks:
        """All queries against all keys."""
        return cls(1, longest, False)

    def places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of queries (N, W, 1) and keys (N, 1, U), within the sequence; some lie outside it."""
        numbers = partial(torch.arange, device=device, dtype=torch.int32)
        first_N11 = numbers(self.count)[:, None, None] * self.size
        around = self.size if self.is_banded else 0
        places = numbers(-around, self.size + around)
        return first_N11 + places[around : around + self.size, None], first_N11 + places


def score_bias(scope: Scope, packing: Packing, heads: int, blocks: Blocks, like: Tensor) -> Tensor:
    """Added to attention scores: -inf where a key is not seen, ALiBi's distances elsewhere.

    Rows of no token see themselves alone, so that no softmax is of nothing.

    Args:
        like: has the dtype of the scores.
    Returns:
        (B N, 1 or H, W, U), made once a micro-batch for all layers of this scope.
    """
    key = (scope, heads if scope.alibi else 1, blocks, like.dtype)
    if key not in packing.shared:
        unseen_BNWU = ~_seen(scope, packing, blocks)
        bias_BNHWU = like.new_zeros(len(unseen_BNWU), blocks.count, 1, blocks.size, blocks.keys)
        if scope.alibi:
            # Made on the host and sent after: made on the device, it would be waited for.
            slopes_H = torch.tensor(slopes(heads)).to(like.device, non_blocking=True)
            slopes_H11 = slopes_H[:, None, None]
            distance_N1WU = _distance(packing, blocks)[:, None]
            bias_BNHWU = bias_BNHWU - (slopes_H11 * distance_N1WU).to(like.dtype)
        bias_BNHWU.masked_fill_(unseen_BNWU[:, :, None], float("-inf"))
        packing.shared[key] = bias_BNHWU.flatten(0, 1)
    return packing.shared[key]


def _seen(scope: Scope, packing: Packing, blocks: Blocks) -> Tensor:
    """Whether a query sees a key, bool (B, N, W, U)."""
    query_NW1, key_N1U = blocks.places(packing.boundaries.device)
    inside_BN1U = (key_N1U >= 0) & (key_N1U < packing.lengths_B[:, None, None, None])
    seen_BNWU = inside_BN1U.repeat(1, 1, blocks.size, 1)
    # In place: of a sequence of 8,192 tokens each such tensor has 64 MB.
    if scope.reach is not None:
        seen_BNWU &= _distance(packing, blocks) <= scope.reach
    if packing.documents is not None:
        last = packing.padded_length - 1
        query_BNW1, key_BN1U = (
            packing.documents_BL[:, places.clamp(0, last)] for places in (query_NW1, key_N1U)
        )
        seen_BNWU &= query_BNW1 == key_BN1U
    offset = blocks.size if blocks.is_banded else 0
    seen_BNWU.diagonal(offset, -2, -1).fill_(True)
    return seen_BNWU


def _distance(packing: Packing, blocks: Blocks) -> Tensor:
    """|i - j| of queries and keys, int32 (N, W, U)."""
    query_NW1, key_N1U = blocks.places(packing.boundaries.device)
    return (query_NW1 - key_N1U).abs_()


def in_blocks(padded_BHLK: Tensor, blocks: Blocks) -> Tensor:
    """Queries (B, H, L, K) to (B N, H, W, K), zeros behind."""
    length, size = padded_BHLK.shape[2], blocks.count * blocks.size
    longer = F.pad(padded_BHLK, (0, 0, 0, size - length))
    blocked: Tensor = longer.unflatten(2, (blocks.count, -1)).transpose(1, 2).flatten(0, 1)
    return blocked


def with_neighbours(padded_BHLK: Tensor, blocks: Blocks) -> Tensor:
    """Keys or values (B, H, L, K) to (B N, H, 3 W, K): of each block, with those beside it."""
    length, size = padded_BHLK.shape[2], blocks.count * blocks.size
    around = (0, 0, blocks.size, size - length + blocks.size)
    longer = F.pad(padded_BHLK, around).unflatten(2, (blocks.count + 2, -1))
    three = [longer[:, :, start : start + blocks.count] for start in range(3)]
    return torch.cat(three, 3).transpose(1, 2).flatten(0, 1)


def out_of_blocks(blocked: Tensor, sequences: int, longest: int) -> Tensor:
    """(B N, H, W, K) to (B, H, L, K): the reverse of `in_blocks`."""
    padded: Tensor = blocked.unflatten(0, (sequences, -1)).transpose(1, 2).flatten(2, 3)
    return padded[:, :, :longest]
