"""What flows from the data path into the model: flat, unpadded tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

ALIGNED = 16
"""bytes that every tensor in a buffer begins at a multiple of: what begins elsewhere is copied once
more by a compiled kernel"""
Layout = dict[str, tuple[torch.dtype, int]]
"""type and number of the elements of each tensor in a buffer"""


@dataclass(frozen=True)
class MicroBatch:
    """Some sequences, laid end to end.

    Integers have the types below on the host. On a device they have 32 bits, but for those that
    cross entropy reads, `WIDE`.

    Axes: T tokens, B sequences, M predicted tokens.
    """

    WIDE: ClassVar[tuple[str, ...]] = ("labels_M", "next_sentence_B")

    tokens_T: Tensor
    """int64: token ids, masking already applied"""
    positions_T: Tensor
    """int64: place inside the own sequence, from 0"""
    segments_T: Tensor | None
    """int64: 0 for segment A, 1 for segment B; None: all are of A, or the model has one type"""
    boundaries: Tensor
    """int32 (B + 1): where each sequence starts, and the end"""
    longest: int
    """length of the longest sequence"""
    predicted_M: Tensor
    """int64: which of the T tokens are predicted"""
    labels_M: Tensor
    """int64: the tokens that stood there"""
    next_sentence_B: Tensor
    """int64: 0 where segment B follows A in the corpus, 1 where it is random, -100 where the
    format has no pairs (Hugging Face's convention)"""
    sample_ids: tuple[int, ...] = ()
    """each sequence's number in the epoch"""
    dropout_keys: tuple[int, ...] = ()
    """one key a sequence, from which all its dropout is drawn"""
    documents: Tensor | None = None
    """int32 (A + 1): where each document of the sequences starts, and the end; tokens then attend
    within their own. None: within their sequence"""
    longest_document: int = 0
    """length of the longest of these"""
    sources_M: Tensor | None = None
    """int64: number of the source that each predicted token is of, where figures of each are asked
    for: of held-out text of several sources"""
    source_count: int = 0
    """how many sources there are then"""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The fields that are tensors."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in own.items() if isinstance(value, Tensor)}

    @property
    def layout(self) -> Layout:
        """How the tensors travel to a device."""
        narrow = {torch.int64: torch.int32}
        return {
            name: (x.dtype if name in self.WIDE else narrow.get(x.dtype, x.dtype), len(x))
            for name, x in self.tensors.items()
        }

    @cached_property
    def pinned(self) -> Tensor:
        """All tensors in one buffer of page-locked memory, which a GPU reads by itself.

        torch does not use that memory again before the copies from it are done, even where the
        buffer goes earlier.
        """
        return flattened(self.tensors, self.layout, pin=True)

    def ready_for(self, device: torch.device) -> Self:
        """The same micro-batch, once a thread ahead has done its part of the way to `device`."""
        if device.type != "cpu":
            _ = self.pinned
        return self

    def to(self, device: torch.device) -> Self:
        """The same micro-batch on `device`, by one copy that the host does not wait for."""
        if device.type == self.tokens_T.device.type:
            return self
        buffer = self.pinned.to(device, non_blocking=True)
        moved: dict[str, Any] = unflattened(buffer, self.layout)
        return replace(self, **moved)


def flattened(tensors: dict[str, Tensor], layout: Layout, pin: bool) -> Tensor:
    """Tensors (n,) end to end, as bytes.

    Args:
        pin: whether their memory is page-locked.
    """
    size = sum(aligned(dtype.itemsize * length) for dtype, length in layout.values())
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=pin)
    for name, view in unflattened(buffer, layout).items():
        view.copy_(tensors[name])
    return buffer


def unflattened(buffer: Tensor, layout: Layout) -> dict[str, Tensor]:
    """The tensors that lie in a buffer, as views of it."""
    views, start = {}, 0
    for name, (dtype, length) in layout.items():
        size = dtype.itemsize * length
        views[name] = buffer[start : start + size].view(dtype)
        start += aligned(size)
    return views


def aligned(size: int) -> int:
    """A number of bytes, rounded up to where the next tensor may begin."""
    return size + -size % ALIGNED
