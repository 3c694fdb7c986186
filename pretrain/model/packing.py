"""How the sequences of a micro-batch lie: what attention and dropout share, computed once.

Axes: T tokens, R rows (T rounded up), B sequences, L padded length, K head size;
`...` any further axes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from pretrain.batch import MicroBatch
from pretrain.model.autograd import Function, SizedContext
from pretrain.model.rotary import angles


def rounded(count: int, sizes: int = 32) -> int:
    """A number that many other counts are rounded up to, by at most one part in `sizes`.

    Matrix products of a size never seen before make oneDNN generate code, half a megabyte of it,
    and few micro-batches are alike to the token. Of so many sizes between a power of two and the
    next all are soon known.

    Args:
        sizes: a power of two.
    """
    # Of a count's bits those stay free that tell the sizes apart, right below the highest.
    step = 1 << max(0, count.bit_length() - sizes.bit_length())
    return -(-count // step) * step


@dataclass(frozen=True)
class Packing:
    """Where each sequence lies in the flat tokens, and in the padded layout of some kernels."""

    boundaries: Tensor
    """int32 (B + 1): where each sequence starts, and the end"""
    positions_T: Tensor
    """int64: place inside the own sequence, from 0"""
    longest: int
    """length of the longest sequence"""
    dropout_keys: tuple[int, ...]
    """one a sequence"""
    documents: Tensor | None = None
    """int32 (A + 1): where each document starts, and the end; None: attention goes across them"""
    longest_document: int = 0
    """length of the longest document"""
    attended: Tensor | None = None
    """int32: boundaries that attention does not cross, of all R rows; those of no token are
    sequences of their own, so that a kernel for flat rows need not be kept from them"""

    @classmethod
    def of(cls, batch: MicroBatch) -> Packing:
        """The packing of `batch`; reads nothing from the device."""
        packing = cls(
            batch.boundaries,
            batch.positions_T,
            batch.longest,
            batch.dropout_keys,
            batch.documents,
            batch.longest_document,
        )
        return replace(packing, attended=packing.boundaries_of_rows())

    def boundaries_of_rows(self) -> Tensor:
        """`attended`: none of its sequences is longer than `longest_attended`."""
        bounds = self.boundaries if self.documents is None else self.documents
        spare, longest = self.rows - self.tokens, self.longest_attended
        if not spare:
            # Not themselves: of what lies within a buffer a compiled layer makes a second graph.
            return bounds.clone()
        pieces = torch.arange(1, 1 - (-spare // longest), device=bounds.device)
        ends = (pieces * longest).clamp(max=spare) + self.tokens
        return torch.cat([bounds, ends.to(bounds.dtype)])

    @property
    def longest_attended(self) -> int:
        """The most tokens between two boundaries that attention does not cross."""
        return self.longest if self.documents is None else self.longest_document

    @property
    def sequences(self) -> int:
        """B."""
        return len(self.boundaries) - 1

    @property
    def tokens(self) -> int:
        """T."""
        return len(self.positions_T)

    @property
    def rows(self) -> int:
        """R: what a dense layer computes. The rows beyond T are of no token, and attention and
        losses leave them out."""
        return rounded(self.tokens)

    def fill(self, flat_T: Tensor) -> Tensor:
        """Flat (T, ...) to (R, ...), zero beyond T."""
        return fill(flat_T, self.rows)

    @property
    def is_uniform(self) -> bool:
        """Whether all sequences are equally long: padding is then a mere reshape."""
        return self.sequences * self.longest == len(self.positions_T)

    @cached_property
    def padded_length(self) -> int:
        """L: the longest sequence's, rounded up where rows are padded anyway. It makes sizes with
        B, which varies as well: of many lengths new pairs would turn up as long as a run lasts."""
        return self.longest if self.is_uniform else rounded(self.longest, sizes=16)

    @cached_property
    def lengths_B(self) -> Tensor:
        """Length of each sequence, int32."""
        return self.boundaries.diff()

    @cached_property
    def lengths(self) -> list[int]:
        """The same on the host; waits for the device, so it is for CPU code only."""
        return [int(length) for length in self.lengths_B.tolist()]

    @cached_property
    def slots_T(self) -> Tensor:
        """Each token's row among the B x L rows of the padded layout, int64."""
        # Sequence b has the rows from b L on. With `output_size` torch need not ask the device how
        # many there will be.
        starts_B = torch.arange(self.sequences, device=self.boundaries.device) * self.padded_length
        starts_T = starts_B.repeat_interleave(self.lengths_B, output_size=len(self.positions_T))
        return starts_T + self.positions_T

    @cached_property
    def is_token_BL(self) -> Tensor:
        """False where the padded layout holds no token, bool."""
        places_L = torch.arange(self.padded_length, device=self.boundaries.device)
        return places_L < self.lengths_B[:, None]

    @cached_property
    def score_bias_BL(self) -> Tensor:
        """Added to attention scores: 0, or -inf where there is no token, float32."""
        return torch.where(self.is_token_BL, 0.0, float("-inf"))

    def rotation(self, theta: float, head_size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each row's rotary angles, (R, 1, 1, K / 2), for `rotary.Rotate`."""
        kind = theta, head_size, dtype
        if kind not in self._known_rotations:
            places_L = torch.arange(self.longest, device=self.positions_T.device)
            angles_LK = angles(places_L, theta, head_size, dtype)
            rows_R = self.fill(self.positions_T)
            cosine, sine = (
                table_LK.index_select(0, rows_R)[:, None, None]
                for table_LK in (angles_LK.cos(), angles_LK.sin())
            )
            self._known_rotations[kind] = cosine, sine
        return self._known_rotations[kind]

    @cached_property
    def documents_BL(self) -> Tensor:
        """Number of each token's document, from 1, in the padded layout; 0: there is no token."""
        assert self.documents is not None, "attention goes across documents"
        lengths_A = self.documents.diff()
        numbers_A = torch.arange(1, len(lengths_A) + 1, device=lengths_A.device)
        return self.pad(numbers_A.repeat_interleave(lengths_A, output_size=self.tokens))

    @cached_property
    def shared(self) -> dict[Hashable, Tensor]:
        """What layers make once for each other."""
        return {}

    def pad(self, flat_T: Tensor) -> Tensor:
        """Flat (T, ...) to padded (B, L, ...), zero where there is no token."""
        if not self.is_uniform:
            flat_T = Scatter.apply(flat_T, self.slots_T, self.sequences * self.padded_length)
        padded: Tensor = flat_T.unflatten(0, (self.sequences, self.padded_length))
        return padded

    def split_heads(self, flat_RNHK: Tensor) -> Tensor:
        """Flat (R, N, H, K) to padded (N, B, H, L, K), zero where there is no token.

        In one copy, and contiguous: the batched products that follow need no other.
        """
        parts, heads, width = flat_RNHK.shape[1:]
        shape = parts, self.sequences, heads, self.padded_length
        slots = self._head_slots(parts, heads)
        rows: Tensor = Scatter.apply(flat_RNHK.reshape(-1, width), slots, prod(shape))
        return rows.view(*shape, width)

    def join_heads(self, padded_BHLK: Tensor) -> Tensor:
        """Padded (B, H, L, K) to flat (R, H, K), zero beyond the tokens."""
        heads, width = padded_BHLK.shape[1], padded_BHLK.shape[3]
        slots, size = self._head_slots(1, heads), self.rows * heads
        rows: Tensor = Gather.apply(padded_BHLK.reshape(-1, width), slots, size)
        return rows.view(-1, heads, width)

    def _head_slots(self, parts: int, heads: int) -> Tensor:
        """The row of each token, part and head, int64 (T N H), among N x B x H x L rows."""
        if (parts, heads) not in self._known_slots:
            # The row of part n, sequence b, head h, place l is ((n B + b) H + h) L + l. A token's
            # slot is s = b L + l, so that (s // L) L (H - 1) + s is b H L + l. Part and head
            # come on top.
            device = self.boundaries.device
            length = self.padded_length
            before_T = self.slots_T // length * length * (heads - 1) + self.slots_T
            part_N = torch.arange(parts, device=device) * self.sequences * heads * length
            head_H = torch.arange(heads, device=device) * length
            slots_TNH = before_T[:, None, None] + part_N[:, None] + head_H
            self._known_slots[parts, heads] = slots_TNH.flatten()
        return self._known_slots[parts, heads]

    @cached_property
    def _known_rotations(self) -> dict[tuple[float, int, torch.dtype], tuple[Tensor, Tensor]]:
        """All layers of one theta use the same."""
        return {}

    @cached_property
    def _known_slots(self) -> dict[tuple[int, int], Tensor]:
        """All layers use the same."""
        return {}


class Scatter(Function):
    """Rows into distinct slots of a zero tensor; rows beyond the slots are left out.

    Torch's own index operations allow repeated slots, and their backward pass must add up what
    falls into one. Here none repeats: the backward pass copies.
    """

    @staticmethod
    def forward(ctx: SizedContext, rows: Tensor, slots: Tensor, size: int) -> Tensor:
        """(N, ...) and slots (S,) to (size, ...)."""
        ctx.save_for_backward(slots)
        ctx.size = len(rows)
        return _scatter(rows, slots, size)

    @staticmethod
    def backward(ctx: SizedContext, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The rows' gradient."""
        return _gather(gradient, ctx.saved_tensors[0], ctx.size), None, None


class Gather(Function):
    """Rows out of distinct slots, and zeros up to a number of rows: the inverse of `Scatter`."""

    @staticmethod
    def forward(ctx: SizedContext, rows: Tensor, slots: Tensor, size: int) -> Tensor:
        """(N, ...) and slots (S,) to (size, ...), zero from S on."""
        ctx.save_for_backward(slots)
        ctx.size = len(rows)
        return _gather(rows, slots, size)

    @staticmethod
    def backward(ctx: SizedContext, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The rows' gradient."""
        return _scatter(gradient, ctx.saved_tensors[0], ctx.size), None, None


def _scatter(rows: Tensor, slots: Tensor, size: int) -> Tensor:
    return rows.new_zeros(size, *rows.shape[1:]).index_copy_(0, slots, rows[: len(slots)])


def _gather(rows: Tensor, slots: Tensor, size: int) -> Tensor:
    # Straight into its place: one copy of the rows instead of two.
    gathered = rows.new_empty(size, *rows.shape[1:])
    torch.index_select(rows, 0, slots, out=gathered[: len(slots)])
    gathered[len(slots) :] = 0
    return gathered


def fill(flat: Tensor, size: int) -> Tensor:
    """(size, ...): the tensor with zeros behind it."""
    if len(flat) == size:
        return flat
    return torch.cat([flat, flat.new_zeros(size - len(flat), *flat.shape[1:])])
