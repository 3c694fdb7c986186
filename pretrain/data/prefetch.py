"""What comes next is made in a thread while the one before is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; what making one raises is raised where it would come."""
    source = iter(items)
    with ThreadPoolExecutor(1, "batches") as pool:
        ready = pool.submit(next, source)
        while True:
            try:
                item = ready.result()
            except StopIteration:
                return
            ready = pool.submit(next, source)
            yield item
