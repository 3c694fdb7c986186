"""`engine.precision: auto` is what rank 0 found, on every rank."""

from __future__ import annotations

import pytest

from tests.distributed.ranks import on_ranks

pytestmark = pytest.mark.distributed


def choose(cache: str) -> list[tuple[str, str]]:
    """(name, source) of two starts on ranks whose races end differently."""
    from pretrain.engine import precision
    from pretrain.ranks import world as ranks

    world = ranks.start()
    precision.can_multiply_bf16 = lambda device: True
    precision.race = lambda speed: 4.0 if world.is_main else 0.5
    found = [precision.choose_precision("auto", world, cache) for _ in range(2)]
    ranks.stop()
    return [(choice.name, choice.source.split()[0]) for choice in found]


def test_all_ranks_take_what_the_first_found(tmp_path):
    expected = [("bf16", "measured"), ("bf16", "remembered")]
    assert on_ranks(choose, 2, str(tmp_path)) == [expected, expected]
