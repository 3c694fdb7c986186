"""Who works on a run folder: a lock that lives as long as the process that trains there."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOCK = "lock"


def take(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, or None where another process holds it.

    The lock is let go when the last process that has the descriptor closes it or dies. A child that
    inherits it goes on holding it after its parent's death, however sudden.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_taken(folder: Path) -> bool:
    """Whether a process works on the folder."""
    if not (folder / LOCK).is_file():
        return False
    descriptor = take(folder)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None
