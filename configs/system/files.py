"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import DiskError, InputError, RunError
from configs.system.aside import aside_of, flush, take_place
from configs.system.run_lock import require_ours

DISK = {
    errno.ENOSPC: "the disk is full: free some space or write elsewhere",
    errno.EDQUOT: "the disk is full (your quota is used up): free some space or write elsewhere",
    errno.EFBIG: "the disk is full, or files must be smaller (see `ulimit -f`): free some space or "
    "raise the limit",
    errno.EIO: "the disk failed (input/output error): look at the system's log, or write elsewhere",
    errno.EROFS: "the disk can only be read: mount it for writing, or write elsewhere",
}
"""what the system says where a write fails by no fault of what is written, and the cure"""

VIEWS = ("/proc", "/sys")
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe (FIFO)"), (stat.S_ISSOCK, "a socket"))


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


def check_stored(path: Path) -> None:
    """Raise `InputError` for a view of the running system: what says that it is an empty file may
    be endless, or wait for ever for its first byte."""
    real = Path(os.path.realpath(path))  # of a loop of links, the loop itself
    if any(real.is_relative_to(view) for view in VIEWS):
        raise InputError(
            f"{path}: a view of the running system, not a stored file: write its content into a "
            "file"
        )


def check_regular(path: Path) -> None:
    """Raise `InputError` unless `path` is an ordinary file, or a link to one."""
    check_stored(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: make or copy it anew") from error
    if not stat.S_ISREG(mode):
        kind = next((name for fits, name in KINDS if fits(mode)), "a device")
        raise InputError(f"{path}: {kind}, not a file: put a file there")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there; raises as `written_aside` does."""
    require_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def written_aside(folder: Path) -> Iterator[Path]:
    """A fresh folder beside `folder` that takes its place, durably, once the block succeeds.

    The folder that was there before goes only then, of a link the link alone; on failure it stays,
    and nothing else does. A kill leaves the one or the other in place, and a hidden one that the
    next writer removes.

    Raises:
        RunError: it lies in the folder of this process's run, which has lost it.
        DiskError: the disk is full or broken.
    """
    with disk_explained(folder):
        make_folder(folder.parent)
        with aside_of(folder, os.mkdir) as aside:
            yield aside
            for path in [*aside.rglob("*"), aside]:
                flush(path)
            take_place(aside, folder)


@contextmanager
def written_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, for the block to fill, that takes its place at once.

    On failure what was there stays, and nothing else does.

    Raises:
        InputError: `path` is a folder, or no ordinary file: a device would be replaced by a file.
        RunError: it lies in the folder of this process's run, which has lost it.
        DiskError: the disk is full or broken.
    """
    require_ours(path)
    if path.exists():
        check_regular(path)
    with disk_explained(path), aside_of(path, Path.touch) as aside:
        yield aside
        flush(aside)
        os.replace(aside, path)


def write_text(path: Path, text: str) -> None:
    """Replace a small file's content at once, never half of it; raises as `written_file` does."""
    with written_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Add a line to a file that may have none yet; where it does not fit, none of it stays; raises
    `DiskError`: the disk is full or broken."""
    content = memoryview(text.encode())
    with disk_explained(path), path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


def overwrite(path: Path, text: str) -> None:
    """Change a small file where it lies, which needs no room: for a full disk alone; raises
    `OSError`: it is not there, or cannot be written."""
    with path.open("r+b", buffering=0) as file:
        file.write(text.encode())
        file.truncate()
        os.fsync(file.fileno())


@contextmanager
def disk_explained(path: Path | str) -> Iterator[None]:
    """Turn what a full or broken disk makes of a write to `path` into one line; raises `DiskError`:
    the disk is full or broken."""
    try:
        yield
    except (InputError, RunError):
        raise
    except Exception as error:
        trouble = disk_trouble(error)
        if trouble is None:
            raise
        raise DiskError(f"{path}: {trouble}") from error


def disk_trouble(error: BaseException) -> str | None:
    """What is wrong with the disk, and the cure; None where the error is about something else.

    Libraries wrap the system's error, or say it in words of their own: NumPy counts items,
    safetensors and tokenizers give Rust's `os error 28`.
    """
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        if number not in DISK and not isinstance(seen, (InputError, RunError)):
            number = _number_in(str(seen))
        if number in DISK:
            return DISK[number]
        seen = seen.__cause__ or seen.__context__
    return None


def _number_in(text: str) -> int | None:
    """The system's number of an error that a library tells in words."""
    if number := re.search(r"\(os error (\d+)\)", text):
        return int(number[1])
    if re.search(r"\d+ requested and \d+ written", text):
        return errno.ENOSPC
    return next((number for number in DISK if os.strerror(number) in text), None)
