"""A run's folder while it is at work: one owner, and a status that stays true whatever happens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from configs.errors import DiskError, InputError, RunError
from configs.system import run_lock
from configs.system.files import disk_trouble
from configs.system.run_folder import RunFolder
from pretrain.ranks.agreement import by_all
from pretrain.ranks.leaving import LEAVING
from pretrain.ranks.preemption import Preempted
from pretrain.ranks.world import World
from pretrain.run.checkpoint_folder import list_checkpoints

LOST = re.compile("connection (closed|reset|refused)|broken pipe|remote process", re.IGNORECASE)
"""what gloo and NCCL say where another rank has gone"""

SAFE = "; with room, the same command resumes"
"""the end of a line that says what is safe"""


@contextmanager
def kept_status(run_dir: Path, world: World) -> Iterator[None]:
    """`running` inside; afterwards what became of the run.

    The rank that fails first tells why: the others only see that it has gone.

    Raises:
        RunError: memory ran out.
        DiskError: the disk is full or broken; says what is safe.
    """
    folder = RunFolder(run_dir)
    if world.is_main:
        folder.requeue.unlink(missing_ok=True)
        folder.write_status("running")
    world.barrier()
    try:
        with memory_explained(run_dir, world), loss_explained(run_dir):
            yield
    except Preempted as left:
        if world.is_main:
            folder.settle_status("preempted")
            folder.write_requeue(left.step, left.reason)
        world.barrier()
        raise
    except BaseException as error:
        if LEAVING.is_asked and LEAVING.interrupted is None:
            raise  # and says so itself: before the first step
        if folder.read_status() == "running":
            folder.settle_status(word_for(KeyboardInterrupt() if LEAVING.interrupted else error))
        raise
    world.barrier()
    if world.is_main:
        folder.write_status("completed")


def word_for(error: BaseException) -> str:
    """The status that an error leaves.

    In a job on a cluster, a broken connection mostly is a lost node: the job is queued again,
    though its script may have died with the node. A script that lives, and finds all nodes there,
    makes it `failed`.
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    in_job = "MASKLAB_EXIT_CODE" in os.environ
    ours = isinstance(error, RunError) or not isinstance(error, RuntimeError)
    return "preempted" if in_job and not ours and LOST.search(str(error)) else "failed"


@contextmanager
def memory_explained(run_dir: Path, world: World) -> Iterator[None]:
    """Turn a lack of memory into one line and the status `out-of-memory`; raises `RunError`: memory
    ran out."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        RunFolder(run_dir).settle_status("out-of-memory")
        raise RunError(
            f"rank {world.rank} ran out of memory: lower batch.micro_sequences, or set "
            "engine.activation_checkpointing=true"
        ) from error


@contextmanager
def loss_explained(run_dir: Path) -> Iterator[None]:
    """Say, where the disk is full or broken, what of the run is safe; raises `DiskError`: it is."""
    try:
        yield
    except Exception as error:
        trouble = disk_trouble(error)
        if trouble is None or SAFE in str(error):
            raise
        told = str(error) if isinstance(error, DiskError) else f"{run_dir}: {trouble}"
        raise DiskError(f"{told}; {_safe(run_dir)}{SAFE}") from error


def _safe(run_dir: Path) -> str:
    """What a run has finished."""
    folder = RunFolder(run_dir)
    finished = folder.finished_trials()
    safe = [
        str(saved[-1])
        for own in (folder, *folder.trials())
        if (saved := list_checkpoints(own.checkpoints))
    ]
    if finished:
        safe.append(f"{finished} finished trials")
    return f"safe: {' and '.join(safe)}" if safe else "nothing was trained yet"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or on the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


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
