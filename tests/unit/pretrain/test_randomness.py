"""Philox against its published answers, and what the project builds on it."""

from __future__ import annotations

import numpy as np
import pytest

from pretrain import randomness
from pretrain.randomness import (
    Purpose,
    Shuffle,
    draw,
    key_64,
    keys_64,
    permutation,
    philox,
    to_unit,
)
from tests.helpers import assert_binomial, assert_uniform

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [  # Random123, kat_vectors, philox4x32 with 10 rounds
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((ONES,) * 4, (ONES, ONES), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter, key, expected):
    words = philox(key, np.asarray(counter, np.uint64)[:, None])
    assert words.dtype == np.uint32
    assert " ".join(f"{word:08x}" for word in words[:, 0]) == expected


def test_a_draw_does_not_depend_on_its_company():
    together = draw(5, Purpose.PAIRS, 3, np.arange(100), block=2)
    assert together.shape == (4, 100)
    for sample in (0, 41, 99):
        assert (draw(5, Purpose.PAIRS, 3, sample, block=2)[:, 0] == together[:, sample]).all()


def test_every_part_of_the_key_matters():
    base = dict(seed=1, purpose=Purpose.PAIRS, epoch=2, sample=3, block=4)
    others = [{name: value + 1} for name, value in base.items() if name != "purpose"]
    others += [{"purpose": Purpose.DROPOUT}, {"sample": 3 + 2**32}, {"sample": 3 + 2**40}]
    results = {tuple(draw(**base | other)[:, 0].tolist()) for other in [{}, *others]}
    assert len(results) == 1 + len(others)


def test_samples_beyond_32_bits_are_not_cut():
    samples = np.asarray([7, 7 + 2**32, 7 + 2**33, 2**63], np.uint64)
    assert len(np.unique(draw(0, Purpose.PAIRS, 0, samples)[0])) == 4


def test_words_are_uniform():
    words = draw(0, Purpose.MASK_POSITIONS, 0, np.arange(250_000))
    unit = to_unit(words)
    assert unit.min() >= 0 and unit.max() < 1
    for row in unit:
        assert_uniform(np.bincount((row * 256).astype(int), minlength=256))
    for bit in range(32):
        assert_binomial(int((words >> np.uint32(bit) & 1).sum()), words.size, 0.5)
    assert to_unit(np.asarray([ONES], np.uint32)) < 1


def test_permutation_is_one_and_differs_by_epoch_seed_and_purpose():
    keys = [(0, Purpose.SAMPLE_ORDER, 0), (0, Purpose.SAMPLE_ORDER, 1)]
    keys += [(1, Purpose.SAMPLE_ORDER, 0), (0, Purpose.DOCUMENT_ORDER, 0)]
    orders = [permutation(*key, 10_000) for key in keys]
    for order in orders:
        assert (np.sort(order) == np.arange(10_000)).all()
    assert len({order.tobytes() for order in orders}) == len(keys)
    assert (permutation(*keys[0], 10_000) == orders[0]).all()
    assert len(permutation(0, Purpose.SAMPLE_ORDER, 0, 0)) == 0


def test_permutation_favours_no_place():
    firsts = [permutation(0, Purpose.SAMPLE_ORDER, epoch, 10)[0] for epoch in range(2000)]
    assert_uniform(np.bincount(firsts, minlength=10))


@pytest.mark.parametrize("length", [1, 2, 3, 10, 48, 49, 50, 51, 997, 100_003])
def test_a_large_shuffle_holds_every_number_once(length, monkeypatch):
    monkeypatch.setattr(randomness, "SORTED", 0)
    shuffle = Shuffle(3, Purpose.SAMPLE_ORDER, 1, length)
    order = shuffle.at(np.arange(length))
    assert len(shuffle) == length and (np.sort(order) == np.arange(length)).all()
    some = np.asarray([length - 1, 0, length // 2])
    assert (shuffle.at(some) == order[some]).all()


def test_a_large_shuffle_is_random(monkeypatch):
    """Of places and numbers, of neighbours in the order, and from epoch to epoch."""
    monkeypatch.setattr(randomness, "SORTED", 0)
    length, parts = 200_000, 20
    places = np.arange(length)
    orders = [Shuffle(0, Purpose.SAMPLE_ORDER, epoch, length).at(places) for epoch in range(3)]
    for order in orders:
        cells = places * parts // length * parts + order * parts // length
        assert_uniform(np.bincount(cells, minlength=parts**2))
        gaps = (order[1:] - order[:-1]) % length
        assert_uniform(np.bincount(gaps * parts // length, minlength=parts))
        assert_uniform(np.bincount(order[: length // 2] % 7, minlength=7))
    for a, b in zip(orders, orders[1:]):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / length**0.5
        assert (a == b).sum() < 12  # one is expected
    firsts = [int(Shuffle(0, Purpose.SAMPLE_ORDER, e, 90).at(places[:1])[0]) for e in range(2000)]
    assert_uniform(np.bincount(firsts, minlength=90))


def test_a_small_shuffle_is_the_permutation_of_its_keys():
    shuffle = Shuffle(0, Purpose.SAMPLE_ORDER, 4, 1000)
    assert (shuffle.at(np.arange(1000)) == permutation(0, Purpose.SAMPLE_ORDER, 4, 1000)).all()


def test_a_million_samples_have_a_million_keys():
    keys = keys_64(0, Purpose.DROPOUT, 12, np.arange(1_000_000))
    assert keys.dtype == np.int64 and keys.min() >= 0
    assert len(np.unique(keys)) == 1_000_000
    assert key_64(0, Purpose.DROPOUT, 12, 7) == keys[7]


def test_purposes_are_never_renumbered():
    assert [purpose.name for purpose in Purpose][:8] == [
        "INIT",
        "DOCUMENT_ORDER",
        "SAMPLE_ORDER",
        "PAIRS",
        "MASK_POSITIONS",
        "MASK_TOKENS",
        "MASK_COUNT",
        "DROPOUT",
    ]
    assert list(Purpose) == list(range(1, len(Purpose) + 1))
