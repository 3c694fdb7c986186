"""Randomness as a function: every random decision is `philox(key, counter)`, never a state.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11,
section 4.3), vectorised over counters. A key is (seed, purpose); a counter is (block, sample, epoch
or step, 0). Whoever knows these numbers, on any rank and in any order, draws the same values.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
LOW, SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
ROUNDS = 10


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


def philox(key: tuple[int, int], counter: np.ndarray) -> np.ndarray:
    """Philox4x32-10.

    Args:
        key: two 32-bit words.
        counter: uint64 array (4, N), each entry a 32-bit word.
    Returns:
        uint32 array (4, N) of independent uniform words.
    """
    return _rounds(key, *(np.array(words, np.uint64) for words in counter))


def draw(seed: int, purpose: Purpose, epoch, sample, block=0) -> np.ndarray:
    """Four uniform 32-bit words for every broadcast (epoch, sample, block); uint32 (4, N).

    Samples may exceed 32 bits: their upper half goes into the fourth counter word.
    """
    sample = np.asarray(sample, np.uint64)
    words = (np.asarray(block, np.uint64), sample & LOW, np.asarray(epoch, np.uint64))
    counter = np.broadcast_arrays(*words, sample >> SHIFT)
    return _rounds((seed, int(purpose)), *(np.array(word).ravel() for word in counter))


def _rounds(key: tuple[int, int], c0, c1, c2, c3) -> np.ndarray:
    """Philox's rounds, in place where it can be: fresh memory would take half of the time."""
    key_0, key_1 = key
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
        c1 ^= product_1 >> SHIFT
        c1 ^= np.uint64(key_0)
        c3 ^= product_0 >> SHIFT
        c3 ^= np.uint64(key_1)
        product_0 &= LOW
        product_1 &= LOW
        c0, c1, c2, c3 = c1, product_1, c3, product_0
        key_0, key_1 = (key_0 + WEYL_0) & 0xFFFFFFFF, (key_1 + WEYL_1) & 0xFFFFFFFF
    words = np.empty((len(c0), 4), np.uint32)  # the words of a block lie together
    for row, word in zip(words.T, (c0, c1, c2, c3)):
        row[:] = word
    return words.T


def to_unit(words: np.ndarray) -> np.ndarray:
    """uint32 words -> float64 in [0, 1)."""
    return words * 2.0**-32


def permutation(seed: int, purpose: Purpose, epoch: int, length: int) -> np.ndarray:
    """A random order of `range(length)`: the argsort of 64 random bits each; int64 (length,)."""
    words = draw(seed, purpose, epoch, np.arange(length)).astype(np.uint64)
    return np.argsort((words[0] << SHIFT) | words[1], kind="stable")


def keys_64(seed: int, purpose: Purpose, epoch, sample) -> np.ndarray:
    """63-bit keys to seed a library's own generators with (weights, dropout); int64 (N,)."""
    high, low = draw(seed, purpose, epoch, sample)[:2].astype(np.int64)
    return (high << 31) ^ low


def key_64(seed: int, purpose: Purpose, epoch: int = 0, sample: int = 0) -> int:
    """One such key."""
    return int(keys_64(seed, purpose, epoch, sample)[0])
