"""What is half-written lies aside: beside its place, hidden, and locked while its writer lives.

    .report.md.0123abcd        becomes report.md once it is whole
    .report.md.0123abcd.old    what was there, where the system cannot exchange two names at once

A kill at any moment leaves the old or the new in place, and something hidden whose lock nobody
holds: the next writer of the same place removes it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""of Linux's <fcntl.h> and <stdio.h>"""
LONGEST_WRITE = 24 * 3600
"""seconds after which what is half-written counts as left behind, on file systems without locks"""
LONGEST_NAME = 48
"""characters of a name that its neighbour takes over: the system takes 255 bytes"""


@contextmanager
def aside_of(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new hidden neighbour of `path`, whose lock tells that its writer lives."""
    clear_leftovers(path.parent, path.name)
    lock = None
    while lock is None:  # others may take it for a leftover before it is locked
        aside = path.with_name(f".{path.name[:LONGEST_NAME]}.{uuid.uuid4().hex[:8]}")
        make(aside)
        lock = _lock(aside, otherwise=True)
    try:
        yield aside
    finally:
        remove(aside)
        os.close(lock)


def clear_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left in `folder`: of the file or folder `name`, or of all."""
    own = ".+" if name is None else re.escape(name[:LONGEST_NAME])
    hidden = re.compile(rf"(\.({own})\.[0-9a-f]{{8}})(\.old)?")
    entries = os.listdir(folder) if folder.is_dir() else []
    for left in filter(None, map(hidden.fullmatch, entries)):
        with suppress(OSError):  # another may have been quicker, or it is another user's
            _clear(folder / left[0], folder / left[1], folder / (name or left[2]))


def take_place(aside: Path, folder: Path) -> None:
    """Put `aside` where `folder` is or is to be, and what was there before out of the way."""
    if not os.path.lexists(folder):
        os.rename(aside, folder)
    elif not _exchange(aside, folder):
        old = folder.parent / f"{aside.name}.old"
        # Between these two renames the place is empty. A kill there leaves `old`, which the next
        # writer of the place renames back (`_clear`).
        os.rename(folder, old)
        try:
            os.rename(aside, folder)
        except OSError:
            os.rename(old, folder)
            raise
        remove(old)
    # A rename is a change of the folder above: without this a power cut may undo it.
    flush(folder.parent)


def remove(path: Path) -> str | None:
    """Take away a file, a folder with all in it, or a link, but never what a link leads to. Returns
    what stayed, and why; None where nothing did."""
    stayed: list[str] = []

    def note(
        _function: object, name: str, raised: tuple[type[BaseException], BaseException, object]
    ) -> None:
        error = raised[1]
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            stayed.append(f"{name} could not be removed ({error.strerror})")

    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, onerror=note)
    except OSError as error:
        return f"{path} could not be removed ({error.strerror})"
    return stayed[0] if stayed else None


def flush(path: Path) -> None:
    """Force a file's or folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(left: Path, aside: Path, path: Path) -> None:
    age = time.time() - aside.stat().st_mtime if aside.exists() else 0.0
    lock = _lock(aside, otherwise=age > LONGEST_WRITE)
    if lock is None and aside.exists():
        return
    try:
        if left != aside and not os.path.lexists(path):
            os.rename(left, path)  # the kill came when the new one was not yet in its place
        remove(left)
    finally:
        if lock is not None:
            os.close(lock)


def _lock(aside: Path, otherwise: bool) -> int | None:
    """A descriptor that holds the lock of a file or folder; None: another has it, or it is gone.
    `otherwise`: whether it counts as ours where the file system has no locks."""
    try:
        descriptor = os.open(aside, os.O_RDONLY if aside.is_dir() else os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat(os.stat(aside), os.fstat(descriptor))
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    except OSError:
        is_ours = otherwise
    if is_ours:
        return descriptor
    os.close(descriptor)
    return None


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one go, so that a reader finds the one or the other. Returns
    whether that was done: not every system and file system can (renameat2 of Linux)."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    places = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return bool(renameat2(*places, RENAME_EXCHANGE) == 0)
