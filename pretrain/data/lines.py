"""Lines of text and rows of JSON out of files: whole, compressed, or a range of bytes.

A plain file can be read from any place in it, which is what lets many jobs share one file: each
reads its own range, and together they read every line once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from configs.errors import InputError

COMPRESSIONS = (".gz", ".xz", ".zst")


@dataclass(frozen=True)
class Span:
    """A range of a plain file that begins and ends between two documents."""

    start: int
    """first byte"""
    end: int
    """byte after the last"""


def find_cut(path: Path, offset: int, between_blocks: bool) -> int:
    """The first place at or after byte `offset` where no document is cut in two.

    Args:
        between_blocks: only a blank line ends a document; else every line does.
    """
    if offset == 0:
        return 0
    with path.open("rb") as file:
        file.seek(offset - 1)
        file.readline()
        while between_blocks and file.readline().strip():
            pass
        return file.tell()


def open_bytes(path: Path, span: Span | None = None) -> BinaryIO:
    """A stream of a file's bytes, decompressed where its name says so; of `span` alone if given."""
    from fsspec.implementations.local import LocalFileSystem

    if span is not None:
        return BufferedReader(_Range(path, span))
    return BufferedReader(LocalFileSystem().open(str(path), "rb", compression="infer"))


def text_lines(stream: BinaryIO) -> Iterator[str]:
    """Lines of UTF-8 text without their ends."""
    for line in TextIOWrapper(stream, encoding="utf-8"):
        yield line.rstrip("\n").removeprefix("\ufeff")


def blocks(lines: Iterable[str]) -> Iterator[str]:
    """Runs of lines between blank lines."""
    for filled, block in groupby(lines, key=lambda line: bool(line.strip())):
        if filled:
            yield "\n".join(block)


def json_rows(stream: BinaryIO, where: str) -> Iterator[dict]:
    """The objects of a stream of JSON lines; blank lines are passed over.

    Raises:
        InputError: a line holds something else than an object.
        ValueError: a line is no JSON or no UTF-8.
    """
    for number, line in enumerate(stream, start=1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        if text.strip():
            row = json.loads(text)
            if not isinstance(row, dict):
                raise InputError(
                    f"{where}, line {number}: a {type(row).__name__}, not an object: write each "
                    'document as {"text": "..."}'
                )
            yield row


class _Range(RawIOBase):
    """The bytes of one span of a file."""

    def __init__(self, path: Path, span: Span) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(span.start)
        self._left = span.end - span.start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        count = self._file.readinto(memoryview(buffer)[: max(0, self._left)])
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
