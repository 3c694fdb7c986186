"""What every input format makes: samples as runs of tokens in a store, none of them copied."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pretrain.arrays import Ints

NO_PAIR, IS_NEXT, IS_RANDOM = -100, 0, 1


@dataclass(frozen=True)
class SampleIndex:
    """All samples of one pass over a corpus: N samples, S spans."""

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

    @property
    def lengths(self) -> Ints:
        """(N): tokens of each sample, special tokens included."""
        return self.lengths_of(np.arange(len(self)))

    def lengths_of(self, samples: Ints) -> Ints:
        """The same for some samples only."""
        first, last = self.offsets[samples], self.offsets[samples + 1]
        lengths: Ints = 1 + self._framed_ends[last] - self._framed_ends[first]
        return lengths

    @cached_property
    def _framed_ends(self) -> Ints:
        """(S + 1): tokens of all spans up to each one, a separator after each counted."""
        return np.concatenate([[0], np.cumsum(self.ends - self.starts + 1)])

    @property
    def is_pair(self) -> bool:
        """Whether a sample is two segments."""
        return bool(len(self)) and bool(self.next_sentence[0] != NO_PAIR)

    @property
    def next_share(self) -> float:
        """Share of the samples whose second segment follows the first."""
        return float((self.next_sentence == IS_NEXT).mean())


def follow(following: Ints) -> Ints:
    """0, following[0], following[following[0]], ... below its length."""
    visited, i = [], 0
    while i < len(following):
        visited.append(i)
        i = following[i]
    return np.asarray(visited, np.int64)
