"""Randomness as a function: every random decision is `philox(key, counter)`, never a state.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11,
section 4.3), vectorised over counters. A key is (seed, purpose); a counter is (block, sample, epoch
or step, upper half of the sample). Whoever knows these numbers, on any rank and in any order, draws
the same values:

    draw(seed=0, Purpose.MASK_POSITIONS, epoch=3, sample=[7, 8])  ->  uint32 (4, 2)

are four words for sample 7 and four for sample 8. Who needs more than four for a sample asks for
its blocks 0, 1, 2 and so on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pretrain.arrays import Floats, Ints, Longs, Words

# The constants of the paper: the multipliers mix the counter, and the golden ratio and the root of
# 3, as fractions of 2**32, change the key from round to round ("Weyl sequence").
MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
ROUNDS = 10
MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
MIX_END = np.uint64(31)
SORTED, SHUFFLE_ROUNDS = 1 << 22, 8
"""how many numbers a `Shuffle` sorts at most; part of every published curve, as the rounds are"""


class Purpose(IntEnum):
    """What a draw is for. Numbers are part of every published curve: append, never renumber."""

    INIT = 1
    DOCUMENT_ORDER = 2
    SAMPLE_ORDER = 3
    PAIRS = 4
    MASK_POSITIONS = 5
    MASK_TOKENS = 6
    MASK_COUNT = 7
    DROPOUT = 8
    MASK_PARTS = 9
    HELDOUT_PASSAGES = 10
    HELDOUT_WORDS = 11
    MASK_SPANS = 12


def philox(key: tuple[int, int], counter: Sequence[NDArray[np.uint64]]) -> Words:
    """Philox4x32-10 of N counters.

    Args:
        key: two 32-bit words.
        counter: its four words, (N,) each, every entry below 2**32.
    Returns:
        (4, N) independent uniform words.
    """
    # Copies, since the rounds work in place: fresh memory in each would take half of the time.
    # 64 bits hold a product of two 32-bit words whole, and its upper half is one shift away.
    c0, c1, c2, c3 = (np.array(words, np.uint64).ravel() for words in counter)
    key_0, key_1 = key
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
        c1 ^= product_1 >> SHIFT
        c1 ^= np.uint64(key_0)
        c3 ^= product_0 >> SHIFT
        c3 ^= np.uint64(key_1)
        product_0 &= LOW
        product_1 &= LOW
        # The words change places, so that the next round multiplies those that were only added to.
        c0, c1, c2, c3 = c1, product_1, c3, product_0
        key_0, key_1 = (key_0 + WEYL_0) & 0xFFFFFFFF, (key_1 + WEYL_1) & 0xFFFFFFFF
    words = np.empty((len(c0), 4), np.uint32)  # the words of a block lie together
    for row, word in zip(words.T, (c0, c1, c2, c3)):
        row[:] = word
    return words.T


def draw(
    seed: int, purpose: Purpose, epoch: ArrayLike, sample: ArrayLike, block: ArrayLike = 0
) -> Words:
    """Four uniform words for every broadcast (epoch, sample, block): (4, N).

    Samples may exceed 32 bits: their upper half goes into the fourth counter word.
    """
    number = np.asarray(sample, np.uint64)
    words = (np.asarray(block, np.uint64), number & LOW, np.asarray(epoch, np.uint64))
    return philox((seed, int(purpose)), np.broadcast_arrays(*words, number >> SHIFT))


def to_unit(words: Words) -> Floats:
    """Words to numbers in [0, 1)."""
    return np.multiply(words, 2.0**-32, dtype=np.float64)


def below(words: Words, bound: ArrayLike) -> Ints:
    """Words to uniform numbers in [0, bound), which may be another for each word.

    The upper half of word x bound (Lemire 2019): no division, and no float in which words of 32
    bits would lose some. The bias is below bound / 2**32.
    """
    products = words.astype(np.uint64) * np.asarray(bound, np.uint64)
    return (products >> SHIFT).astype(np.int64)


def permutation(seed: int, purpose: Purpose, epoch: int, length: int, first: int = 0) -> Ints:
    """A random order of `range(length)`: the argsort of 64 random bits each.

    `first` is the number that 0 has among all that are drawn for.
    """
    words = draw(seed, purpose, epoch, first + np.arange(length)).astype(np.uint64)
    return np.argsort((words[0] << SHIFT) | words[1], kind="stable")


class Shuffle:
    """A random order of `range(length)`, any part of which is had without the rest.

    Up to `SORTED` numbers it is their `permutation`, kept whole. More are put into a table of a x b
    cells, the sides about equal, and moved along its rows and columns in turn: a row by an amount
    that only its number decides, then a column. That is a Feistel network on a x b numbers (Black
    and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, section 5), and no two of
    them ever meet in one cell. What leaves the range is moved on until it is back in it.
    """

    def __init__(self, seed: int, purpose: Purpose, epoch: int, length: int) -> None:
        self.length, self._sorted = length, None
        if length <= SORTED:
            self._sorted = permutation(seed, purpose, epoch, length)
            return
        self._columns = math.isqrt(length - 1) + 1
        self._rows = -(-length // self._columns)
        self._keys = keys_64(seed, purpose, epoch, np.arange(SHUFFLE_ROUNDS)).astype(np.uint64)

    def __len__(self) -> int:
        return self.length

    def at(self, places: Ints) -> Ints:
        """The numbers that come at some places of the order."""
        if self._sorted is not None:
            return self._sorted[places]
        found = self._move(places)
        # The table has fewer than `_columns` cells too many: nearly all are done.
        while len(outside := np.flatnonzero(found >= self.length)):
            found[outside] = self._move(found[outside])
        return found

    def _move(self, numbers: Ints) -> Ints:
        """The cells of a x b that some cells go to, one each."""
        row, column = (part.astype(np.uint64) for part in divmod(numbers, self._columns))
        for number, key in enumerate(self._keys):
            if number % 2:
                column = _turn(column, row, key, self._columns)
            else:
                row = _turn(row, column, key, self._rows)
        return (row * np.uint64(self._columns) + column).astype(np.int64)


def _turn(moved: Longs, by: Longs, key: np.uint64, size: int) -> Longs:
    """Numbers below `size`, each moved on, and round, by what its counterpart and a key decide."""
    # The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): all bits depend on all.
    bits = by + key
    for shift, factor in MIX:
        bits ^= bits >> shift
        bits *= factor
    bits ^= bits >> MIX_END
    bits >>= SHIFT
    bits *= np.uint64(size)
    bits >>= SHIFT
    bits += moved
    bits[bits >= np.uint64(size)] -= np.uint64(size)
    return bits


def keys_64(seed: int, purpose: Purpose, epoch: int, sample: ArrayLike) -> Ints:
    """63-bit keys to seed a library's own generators with (weights, dropout): (N,)."""
    high, low = draw(seed, purpose, epoch, sample)[:2].astype(np.int64)
    # Shifted by 31 and not by 32, since torch and numpy take no seed with the sign bit set.
    keys: Ints = (high << 31) ^ low
    return keys


def key_64(seed: int, purpose: Purpose, epoch: int, sample: int) -> int:
    """One such key."""
    return int(keys_64(seed, purpose, epoch, sample)[0])
