"""The types of NumPy arrays that the data path hands on, and ranges of them."""

from __future__ import annotations

from typing import Union

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
"""counts, places and token ids"""
Flags = NDArray[np.bool_]
Words = NDArray[np.uint32]
"""random bits, 32 of them each"""
Longs = NDArray[np.uint64]
"""random bits, 64 of them each"""
Floats = NDArray[np.float64]
TokenIds = Union[NDArray[np.uint16], NDArray[np.uint32]]
"""as the store holds them; the narrower where the vocabulary allows it"""


def ranges(starts: Ints, ends: Ints) -> Ints:
    """All range(start, end), one after the other."""
    lengths = ends - starts
    # Counting on through all of them, each range is off by where it should have begun.
    shift: Ints = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.arange(int(lengths.sum()), dtype=np.int64) + shift
