"""Files of a token store, read by place and never mapped.

What is read beyond the end of a file that was cut under a memory map, or from a disk that fails,
kills the interpreter with SIGBUS, without a word. `pread` returns less, or an error,
and gives other threads Python's lock while it waits for the disk.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs.errors import InputError
from pretrain.arrays import Flags, Ints, TokenIds
from pretrain.data.blocks import count_blocks

FEWEST_OPEN, MOST_OPEN = 16, 1 << 16
PIECE_NAME = re.compile(r"\d{5}")
"""of a piece's folder in that of the store"""
State = tuple[int, ...]


class DamagedStore(InputError):
    """A file of a store is not what was written, or is no longer there."""


@dataclass(frozen=True)
class StoreFile:
    """A file of a store, as it was when the store was opened."""

    path: Path
    store: Path
    """the folder of the store"""
    bytes: int
    state: State
    """see `file_state`"""

    @classmethod
    def find(cls, store: Path, name: str, size: int) -> StoreFile:
        """The file of this name; raises `DamagedStore` where it is missing or of another size."""
        path = store / name
        try:
            status = path.stat()
        except OSError as error:
            raise DamagedStore(cured(path, store, error.strerror)) from error
        if status.st_size != size:
            raise DamagedStore(cured(path, store, f"cut short or longer than its {size:,} bytes"))
        return cls(path, store, size, file_state(status))

    def open(self) -> Descriptor:
        """Open it to read; raises `DamagedStore` where it is gone, or another file by now."""
        try:
            descriptor = Descriptor(os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
            now = file_state(os.fstat(descriptor.number))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # this process has too many files open: nothing is wrong with this one
            raise self.damaged(error.strerror) from error
        if now != self.state:
            raise self.changed()
        return descriptor

    def check_unchanged(self) -> None:
        """Raise `DamagedStore` where it is no longer the file that was opened."""
        try:
            now = file_state(self.path.stat())
        except OSError as error:
            raise self.damaged(error.strerror) from error
        if now != self.state:
            raise self.changed()

    def read_into(self, descriptor: Descriptor, view: memoryview, start: int) -> None:
        """Fill `view` from byte `start` on; raises `DamagedStore`: the file ends before, or cannot
        be read."""
        while len(view):  # a signal may cut a read short
            try:
                read = os.preadv(descriptor.number, [view], start)
            except OSError as error:
                raise self.damaged(f"cannot be read ({error.strerror})") from error
            if not read:
                raise self.damaged(f"cut short: nothing from byte {start:,} on")
            view, start = view[read:], start + read

    def changed(self) -> DamagedStore:
        """The error to raise for a file that is another by now."""
        return self.damaged("changed or replaced since the store was opened")

    def damaged(self, what: str | None) -> DamagedStore:
        """The error to raise for this file; `what` is wrong with it."""
        return DamagedStore(cured(self.path, self.store, what))


class Descriptor:
    """An open file, closed once nobody uses it any more.

    Threads read while others let go of files: closing by hand would take the descriptor from under
    a read, and its number may be another file's by then.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class OpenFiles:
    """The files of a split that were used last, kept open: as many as the system allows."""

    def __init__(self) -> None:
        self._held: OrderedDict[Path, Descriptor] = OrderedDict()
        self._lock = threading.Lock()
        self._most = most_open()

    def get(self, file: StoreFile) -> Descriptor:
        """The file, opened now or before; the one that waited longest is let go for it."""
        with self._lock:
            if held := self._held.get(file.path):
                self._held.move_to_end(file.path)
                return held
            while len(self._held) >= self._most:
                self._held.popitem(last=False)  # who still reads it keeps it open
            self._held[file.path] = opened = file.open()
            return opened


@dataclass(frozen=True, eq=False)
class TokenFile:
    """The tokens of one shard; reading notes which blocks were used."""

    file: StoreFile
    dtype: np.dtype
    block_bytes: int
    open_files: OpenFiles
    used: Flags = field(init=False)
    """(blocks): whether any token of it was given out"""

    def __post_init__(self) -> None:
        blocks = count_blocks(self.file.bytes, self.block_bytes)
        # The file is frozen, but its marks are not: they are set while it is read.
        object.__setattr__(self, "used", np.zeros(blocks, bool))

    def __len__(self) -> int:
        return self.file.bytes // self.dtype.itemsize

    def read(self, start: int = 0, end: int | None = None) -> TokenIds:
        """The ids of [start, end); a copy."""
        end = len(self) if end is None else end
        ids = np.empty(end - start, self.dtype)
        self.gather(np.asarray([start]), np.asarray([end]), ids, np.asarray([0]))
        return ids

    def peek(self, start: int, most: int) -> TokenIds:
        """Ids from `start` on, which do not count as used."""
        ids = np.empty(min(most, len(self) - start), self.dtype)
        view, place = memoryview(ids.data).cast("B"), start * self.dtype.itemsize
        self.file.read_into(self.open_files.get(self.file), view, place)
        return ids

    def gather(self, starts: Ints, ends: Ints, ids: TokenIds, places: Ints) -> None:
        """Put the ids of many [start, end) into `ids`, each from its place on; raises
        `DamagedStore`: the file has changed, ends before, or cannot be read."""
        width = self.dtype.itemsize
        starts, ends, places = starts * width, ends * width, places * width
        filled = ends > starts
        if not filled.any():
            return
        self._note_used(starts[filled], ends[filled])
        view, descriptor = memoryview(ids.data).cast("B"), self.open_files.get(self.file)
        # A step of 8,000 sequences passes here 8,000 times and more. So the loop has plain numbers,
        # no attributes to look up, and no call of ours: what a read needs beside it is done before.
        number, read = descriptor.number, os.preadv
        places_end = (places + ends - starts).tolist()
        for start, a, b in zip(starts.tolist(), places.tolist(), places_end):
            part = view[a:b]
            try:
                whole = read(number, [part], start) == b - a
            except OSError:
                whole = False
            if not whole:  # again, to say why
                self.file.read_into(descriptor, part, start)

    def _note_used(self, starts: Ints, ends: Ints) -> None:
        # Nearly every sample lies in one block or across the border of two.
        first, last = starts // self.block_bytes, (ends - 1) // self.block_bytes
        self.used[first] = self.used[last] = True
        for number in np.flatnonzero(last > first + 1):
            self.used[first[number] : last[number]] = True


def file_state(status: os.stat_result) -> State:
    """What changes with every write, and differs from that of another file of the same name."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def cured(path: Path, store: Path, what: str | None) -> str:
    """A message on a damaged file; of a store in pieces, the piece alone is to be made anew."""
    piece = path.relative_to(store).parts[0]
    if PIECE_NAME.fullmatch(piece):
        anew = f"delete {store / 'manifest.json'} and {store / piece} to make that piece anew"
    else:
        anew = f"delete {store} to rebuild the store"
    return f"{path}: {what}: restore it, or {anew}"


def most_open() -> int:
    """Files of a split that may be open: a quarter of what this process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST_OPEN if limit == resource.RLIM_INFINITY else min(limit, MOST_OPEN)
    return max(FEWEST_OPEN, limit // 4)
