"""Tensors that differ in one bit, or in the order of their values, have other checksums."""

from __future__ import annotations

import random

import pytest
import torch

from configs.errors import InputError
from pretrain.ranks.checksums import ROWS, WIDTH, checksum, checksums, find_drift, require_same
from tests.threads import on_threads

SIZES = (1, 5, WIDTH, WIDTH + 1, ROWS * WIDTH, ROWS * WIDTH + 7, 3 * ROWS * WIDTH - 2)


def numbers(size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(size))


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(-1).view(torch.int32)


@pytest.mark.parametrize("size", SIZES)
def test_any_flipped_bit_is_seen(size):
    chance, tensor = random.Random(size), numbers(size)
    before = checksum(tensor)
    for place in [0, size - 1, *(chance.randrange(size) for _ in range(30))]:
        bit = chance.randrange(-31, 32)
        mask = -(2**31) if bit < 0 else (1 << bit) % 2**31 or 1
        bits(tensor)[place] ^= mask
        assert checksum(tensor) != before, (place, bit)
        bits(tensor)[place] ^= mask
    assert checksum(tensor) == before


def test_swapped_values_are_seen():
    tensor, chance = numbers(3 * ROWS * WIDTH), random.Random(0)
    before = checksum(tensor)
    for _ in range(50):
        a, b = chance.sample(range(len(tensor)), 2)
        swapped = tensor.clone()
        swapped[a], swapped[b] = tensor[b], tensor[a]
        assert checksum(swapped) != before
    pieces = tensor.view(3, -1)
    assert checksum(pieces[[1, 0, 2]].clone()) != before, "whole pieces"
    rows = tensor.view(-1, WIDTH)
    assert checksum(rows.flip(0)) != before, "rows"


def test_numbers_that_compare_equal_may_differ():
    assert checksum(torch.tensor([0.0])) != checksum(torch.tensor([-0.0]))
    nan = torch.tensor([float("nan")])
    assert checksum(nan) == checksum(nan.clone())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_any_kind_of_number_has_one(dtype):
    tensor = torch.ones(9, dtype=dtype)
    other = tensor.clone()
    other[3] = 0
    assert checksum(tensor) != checksum(other)
    assert checksum(torch.ones((), dtype=dtype)) == checksum(torch.ones(1, dtype=dtype))


def test_threads_do_not_change_it():
    tensor, threads = numbers(5 * ROWS * WIDTH + 3), torch.get_num_threads()
    before = checksum(tensor)
    try:
        torch.set_num_threads(3)
        assert checksum(tensor) == before
    finally:
        torch.set_num_threads(threads)


def test_ranks_hear_which_tensor_differs():
    def rank(world):
        weights = {"first": numbers(10), "second": numbers(20), "third": numbers(30)}
        if world.rank == 1:
            bits(weights["second"])[4] ^= 1
        return find_drift(world, weights)

    found, other = on_threads(2, rank)
    assert found == other and found.name == "second" and found.others == []
    assert found.odd_ranks == "rank 1"


def test_what_was_read_otherwise_is_refused():
    def rank(world):
        require_same(world, {"w": torch.full((3,), float(world.rank == 2))}, "runs/a")

    for error in on_threads(3, rank):
        assert isinstance(error, InputError) and error.is_of_all_ranks
        assert "ranks hold other weights of runs/a: w=" in str(error)
        assert "on rank 2" in str(error)


def test_one_rank_computes_nothing():
    assert on_threads(1, lambda world: find_drift(world, {"w": None})) == [None]


def test_names_are_kept():
    assert list(checksums({"b": numbers(3), "a": numbers(4)})) == ["b", "a"]
