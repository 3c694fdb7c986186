"""What every input format makes: samples as runs of tokens in a store, none of them copied.

A pass over a large corpus has a hundred million samples. What is kept of one takes about 20 bytes,
in numbers of 32 bits that count from the beginning of its portion (`layout.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.arrays import Ints, ranges

NO_PAIR, IS_NEXT, IS_RANDOM = -100, 0, 1
NARROW: np.dtype[Any] = np.dtype(np.uint32)


@dataclass(frozen=True)
class Samples:
    """N samples of S spans."""

    offsets: Ints
    """(N + 1): sample i owns the spans offsets[i] to offsets[i + 1]"""
    starts: Ints
    """(S): first token of each span"""
    ends: Ints
    """(S): end of each span"""
    next_sentence: NDArray[np.int8]
    """(N): IS_NEXT, IS_RANDOM, or NO_PAIR"""

    def __len__(self) -> int:
        return len(self.next_sentence)

    @cached_property
    def lengths(self) -> Ints:
        """(N): tokens of each sample, special tokens included."""
        framed_ends = np.concatenate([[0], np.cumsum(self.ends - self.starts + 1)])
        lengths: Ints = 1 + np.diff(framed_ends[self.offsets])
        return lengths

    @property
    def is_pair(self) -> bool:
        """Whether a sample is two segments."""
        return bool(len(self)) and bool(self.next_sentence[0] != NO_PAIR)


class SampleIndex:
    """All samples of one pass over a corpus, numbered from 0 on."""

    def __init__(self, portions: Iterable[tuple[int, Samples]]) -> None:
        """`portions` holds the first token of each portion, and its samples counted from there."""
        self._first_tokens: list[int] = []
        self._portions: list[Samples] = []
        lengths, self.is_pair, follow = [], False, 0
        for first_token, samples in portions:  # one at a time: they are made as they are asked for
            lengths.append(samples.lengths.astype(NARROW))
            self.is_pair = samples.is_pair
            follow += int((samples.next_sentence == IS_NEXT).sum())
            self._first_tokens.append(first_token)
            self._portions.append(_narrow(samples))
        self._lengths = np.concatenate(lengths)
        self._firsts: Ints = np.cumsum([0, *map(len, self._portions)], dtype=np.int64)
        self.tokens = int(self._lengths.sum(dtype=np.int64))
        """of all samples, special ones included"""
        self.next_share = follow / max(1, len(self))
        """share of the samples whose second segment follows the first"""

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def mean_length(self) -> float:
        """Tokens of a sample."""
        return self.tokens / len(self)

    def lengths_of(self, samples: Ints) -> Ints:
        """Tokens of some samples, special tokens included."""
        return self._lengths[samples].astype(np.int64)

    def take(self, samples: Ints) -> Samples:
        """Some samples in the given order; tokens are counted over the whole corpus."""
        owner = np.searchsorted(self._firsts, samples, side="right") - 1
        spans_B = np.empty(len(samples), np.int64)
        parts = []
        for portion in np.unique(owner):
            own = np.flatnonzero(owner == portion)
            part = self._take_of(int(portion), samples[own] - self._firsts[portion])
            spans_B[own] = np.diff(part.offsets)
            parts.append((own, part))
        offsets = np.concatenate([[0], np.cumsum(spans_B)])
        taken = Samples(
            offsets=offsets,
            starts=np.empty(offsets[-1], np.int64),
            ends=np.empty(offsets[-1], np.int64),
            next_sentence=np.empty(len(samples), np.int8),
        )
        for own, part in parts:
            places = ranges(offsets[own], offsets[own + 1])
            taken.starts[places], taken.ends[places] = part.starts, part.ends
            taken.next_sentence[own] = part.next_sentence
        return taken

    @property
    def all(self) -> Samples:
        """All samples, for which a large corpus has no room."""
        return self.take(np.arange(len(self)))

    def _take_of(self, portion: int, samples: Ints) -> Samples:
        """Some samples of a portion, by their numbers in it."""
        held, base = self._portions[portion], self._first_tokens[portion]
        first = held.offsets[samples].astype(np.int64)
        last = held.offsets[samples + 1].astype(np.int64)
        spans = ranges(first, last)
        return Samples(
            offsets=np.concatenate([[0], np.cumsum(last - first)]),
            starts=held.starts[spans].astype(np.int64) + base,
            ends=held.ends[spans].astype(np.int64) + base,
            next_sentence=held.next_sentence[samples],
        )


def _narrow(samples: Samples) -> Samples:
    """The same in half of the memory, where its numbers allow it."""
    arrays = (samples.offsets, samples.starts, samples.ends)
    if max(int(array.max(initial=0)) for array in arrays) > np.iinfo(NARROW).max:
        return samples
    offsets, starts, ends = (array.astype(NARROW) for array in arrays)
    return Samples(offsets, starts, ends, samples.next_sentence)


def follow(following: Ints) -> Ints:
    """0, following[0], following[following[0]], ... below its length."""
    visited, i, at = [], 0, following.tolist()  # of plain numbers: three times as fast
    while i < len(at):
        visited.append(i)
        i = at[i]
    return np.asarray(visited, np.int64)
