"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.aside import aside_of, flush, take_place
from configs.errors import InputError
from configs.run_lock import require_ours


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal; reads in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def find_file(folder: Path, name: str) -> Path | None:
    """The file called `name` in a folder that others made; None where there is none.

    Raises:
        InputError: it is no regular file (opening a pipe would wait for ever), or a link that
            leads out of the folder. The hub's cache links into its folder of blobs.
    """
    path = folder / name
    if not os.path.lexists(path):
        return None
    target, home = path.resolve(), folder.resolve()
    blobs = home.parent.parent / "blobs"
    in_cache = home.parent.name == "snapshots" and target.is_relative_to(blobs)
    if not (target.is_relative_to(home) or in_cache):
        raise InputError(f"{path} is a link out of its folder: put the file itself there")
    check_regular(path)
    return path


def check_regular(path: Path) -> None:
    """Raise `InputError` unless `path` is an ordinary file, or a link to one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: make or copy it anew") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no ordinary file"
        raise InputError(f"{path} is {kind}: put a file there")


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A fresh folder beside `folder` that takes its place, durably, once the block succeeds.

    The folder that was there before goes only then; on failure it stays, and nothing else does. A
    kill leaves the one or the other in place, and a hidden one that the next writer removes.

    Raises:
        InputError: the disk is full.
        RunError: it lies in the folder of this process's run, which has lost it.
    """
    require_ours(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with aside_of(folder, os.mkdir) as aside:
            yield aside
            for path in [*aside.rglob("*"), aside]:
                flush(path)
            take_place(aside, folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"{folder}: the disk is full; nothing of it was kept: free some space or write "
            "elsewhere"
        ) from error


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, for the block to fill, that takes its place at once; raises
    as `written_aside` does."""
    require_ours(path)
    with aside_of(path, Path.touch) as aside:
        yield aside
        flush(aside)
        os.replace(aside, path)


def write_text(path: Path, text: str) -> None:
    """Replace a small file's content at once, never half of it."""
    with written_file(path) as aside:
        aside.write_text(text, encoding="utf-8")
