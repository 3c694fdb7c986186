"""What a process waits for, and which other process keeps it waiting, is logged while it waits.

The first line comes after 5 seconds, further ones each minute. Of the ranks of a run the first two
log: one of them always waits, whichever rank is missing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from configs.system.notes import PROGRESS

logger = logging.getLogger(__name__)

FIRST_SECONDS, NEXT_SECONDS = 5.0, 60.0
LOCKS = Path("/proc/locks")
"""Linux's list of the locks that processes of this machine hold"""


@contextmanager
def announced(what: str, why: Callable[[], str] = str) -> Iterator[None]:
    """Say that this process waits for `what`, should the block last.

    Args:
        why: tells more, asked each time from another thread; empty: nothing.
    """
    over = threading.Event()
    logs = int(os.environ.get("RANK") or 0) < 2
    if logs:
        threading.Thread(target=_log, args=(what, why, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, which the system lets go when its holder dies.

    Args:
        what: is waited for where another process has it: "FOLDER, which another process makes".
    """
    lock = FileLock(path)
    acquire(lock, what)
    try:
        yield
    finally:
        lock.release()


def acquire(lock: FileLock, what: str) -> None:
    """Take a lock, however long that lasts, as `locked` does."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        path = Path(lock.lock_file)
        with announced(what, lambda: holder(path)):
            lock.acquire()


def holder(path: Path) -> str:
    """Who holds a lock file, in words, as far as this machine can tell."""
    try:
        status = path.stat()
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        rows = [line.split() for line in LOCKS.read_text().splitlines()]
        pids = [row[4] for row in rows if row[5] == f"{device}:{status.st_ino}" and row[1] != "->"]
    except (OSError, IndexError):
        pids = []
    held = f"process {pids[0]}" if pids and int(pids[0]) > 0 else "a process of another machine"
    return f"{path} is held by {held}"


def _log(what: str, why: Callable[[], str], over: threading.Event) -> None:
    started, pause = time.monotonic(), FIRST_SECONDS
    while not over.wait(pause):
        reason, pause = why(), NEXT_SECONDS
        seconds = time.monotonic() - started
        time_ = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
        because = f" ({reason})" if reason else ""
        logger.log(PROGRESS, f"waiting for {what}: {time_} so far{because}")
