"""Items come as they are made, one ahead, and errors where they would."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from pretrain.data.prefetch import prefetched


def test_all_come_in_order():
    assert list(prefetched(range(5))) == [0, 1, 2, 3, 4]
    assert list(prefetched([])) == []


def test_the_next_is_made_in_a_thread_while_one_is_used():
    made, threads = [threading.Event() for _ in range(4)], set()

    def items():
        for number, event in enumerate(made):
            threads.add(threading.current_thread())
            event.set()
            yield number

    for number in prefetched(items()):
        assert all(event.wait(10) for event in made[: number + 2])
        assert not any(event.is_set() for event in made[number + 2 :])
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_an_error_comes_after_what_was_made_before():
    def items():
        yield 1
        raise OSError("torn")

    found = prefetched(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="torn"):
        next(found)


def test_who_leaves_early_leaves_no_thread():
    before = threading.active_count()
    items = prefetched(count())
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert threading.active_count() == before
