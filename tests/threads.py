"""Ranks as threads of one process, for what they say to each other: no process group is needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

PATIENCE = 20
"""seconds after which a rank that waits for others has failed the test"""


class ThreadWorld:
    """The part of `World` by which ranks compare what they hold."""

    def __init__(self, rank: int, size: int, table: list, barrier: Barrier) -> None:
        self.rank, self.size, self.is_main = rank, size, rank == 0
        self._table, self._barrier = table, barrier
        self.gathers = 0

    def gather(self, value: Any) -> list[Any]:
        self.gathers += 1
        self._table[self.rank] = value
        self._barrier.wait(PATIENCE)
        found = list(self._table)
        self._barrier.wait(PATIENCE)
        return found


def on_threads(size: int, function: Callable[[ThreadWorld], Any]) -> list[Any]:
    """What `function` returns on each rank, or the exception that it raises there."""
    table, barrier = [None] * size, Barrier(size)

    def rank(number: int) -> Any:
        try:
            return function(ThreadWorld(number, size, table, barrier))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(rank, range(size)))
