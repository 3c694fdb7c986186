"""Time of a gradient all-reduce over message sizes, on ranks of this machine or of a launcher."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from configs.errors import InputError

if TYPE_CHECKING:  # what starts ranks of its own needs no torch
    from pretrain.ranks.collectives import Benchmark

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def parse_sizes(texts: Iterable[str]) -> list[int]:
    """Bytes of `64M`, `1K`, `4`, each once, small ones first; K, M, G are powers of 1000."""
    return sorted({_parse_size(text) for text in texts})


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)B?", text.upper())
    if not match or int(match[1]) == 0:
        raise InputError(f"--sizes {text} is no size: write bytes as 4, 100K, 64M or 1G")
    return int(match[1]) * UNITS[match[2]]


def require_ranks(ranks: int) -> None:
    """Raise `InputError` where there is nobody to talk to."""
    if ranks < 2:
        raise InputError(f"--ranks {ranks}: nobody to talk to: give 2 or more")


def measure(
    sizes: list[int], seconds: float, algorithm: str, ranks: int | None
) -> Benchmark | None:
    """The times on rank 0, None on the others; every rank calls it, and has left the others after.

    Args:
        seconds: for each size.
        algorithm: asked of NCCL.
        ranks: how many there should be; None: as many as there are.
    """
    from pretrain.ranks import world as worlds
    from pretrain.ranks.collectives import Benchmark

    world = worlds.start(algorithm)
    if ranks not in (None, world.size):
        raise InputError(f"--ranks {ranks}, but the launcher started {world.size}")
    require_ranks(world.size)
    result = Benchmark.run(world, sizes, seconds)
    worlds.stop()
    return result if world.is_main else None
