"""Message sizes as a person writes them."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from launch.benchmark import parse_sizes, require_ranks


def test_sizes_are_sorted_and_each_is_there_once():
    assert parse_sizes(["1M", "4", "1k", "1000", "2GB"]) == [4, 1000, 10**6, 2 * 10**9]


@pytest.mark.parametrize("size", ["", "0", "0K", "3x", "-4", "1.5M", "K"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InputError, match="is no size: write bytes as 4, 100K, 64M or 1G"):
        parse_sizes(["4", size])


def test_one_rank_has_nobody_to_talk_to():
    require_ranks(2)
    with pytest.raises(InputError, match="--ranks 1: nobody to talk to"):
        require_ranks(1)
