"""A run and its folder: one owner, on all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import InputError, RunError
from configs.system import run_lock
from configs.system.files import disk_trouble
from pretrain.ranks.agreement import by_all
from pretrain.ranks.leaving import LEAVING
from pretrain.ranks.preemption import Preempted
from pretrain.ranks.world import World


@contextmanager
def owned(run_dir: Path, world: World) -> Iterator[None]:
    """Own `run_dir` inside: rank 0 holds its lock, and every rank knows by which token.

    Raises:
        InputError: on all ranks; another process works on it. Nothing of it was touched.
        RunError: it was deleted, moved or taken over meanwhile.
    """
    lock, refusal = _take(run_dir) if world.is_main else (None, None)
    token, refusal = world.from_main((lock.token if lock else "", refusal))
    if refusal:
        raise by_all(InputError(refusal))
    if world.is_main:
        LEAVING.owns(run_dir)
    try:
        with run_lock.claimed(run_dir, token):
            try:
                yield
            except (InputError, RunError, Preempted):
                raise
            except Exception:
                # Whatever fails in a folder that is gone fails for that reason.
                run_lock.require_ours(run_dir)
                raise
    finally:
        if lock:
            lock.release()


def _take(run_dir: Path) -> tuple[run_lock.Lock | None, str | None]:
    """(the lock, None), or (None, why not): the other ranks wait for the answer."""
    try:
        return run_lock.take(run_dir, run_lock.patience()), None
    except InputError as error:
        return None, str(error)
    except OSError as error:
        reason = disk_trouble(error) or f"{error.strerror}: name another run_dir"
        return None, f"{error.filename or run_dir}: {reason}"
