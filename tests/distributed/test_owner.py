"""One rank holds the lock of a run folder, and all hear the answer."""

from __future__ import annotations

import os

from configs.errors import InputError
from configs.system.run_lock import find_holder, take
from pretrain.ranks import world
from pretrain.run.status import owned
from tests.distributed.ranks import on_ranks


def start(held, free) -> tuple[str, str]:
    """(what a rank is told of a folder that is held, who holds the free one meanwhile)."""
    ranks = world.start()
    try:
        with owned(held, ranks):
            refusal = ""
    except InputError as error:
        refusal = str(error)
    with owned(free, ranks):
        ranks.barrier()
        holder = find_holder(free)
        (free / "status").touch()
        ranks.barrier()
    world.stop()
    return refusal, str(holder)


def test_all_ranks_are_refused_or_none(tmp_path):
    lock = take(tmp_path / "held")
    (first, holder), (second, same) = on_ranks(start, 2, tmp_path / "held", tmp_path / "free")
    assert first == second and f"process {os.getpid()} on " in first
    assert holder == same and find_holder(tmp_path / "free") is None
    lock.release()
