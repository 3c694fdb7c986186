"""Lines of text out of files: whole, compressed, or a range of bytes; none longer than allowed.

A plain file can be read from any place in it, which is what lets many jobs share one file: each
reads its own range, and together they read every line once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, StringIO, TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Optional

from pretrain.text.compression import open_unpacked
from pretrain.text.encoding import BOMS, ODD, SAMPLE, propose

STEP = 1 << 20
NAMED_COLUMNS = 20
UNCUT = re.compile(r"[,;|\t]")
"""what cells may be cut at; in a header of one cell it was not"""


@dataclass(frozen=True)
class ByteRange:
    """A range of a plain file that begins and ends between two documents."""

    start: int
    """first byte"""
    end: int
    """byte after the last"""


class Fault(Exception):
    """What is wrong with a text, and in which line or row of it, counted from 1."""

    def __init__(self, problem: str, line: Optional[int] = None, row: Optional[int] = None) -> None:
        super().__init__(problem)
        self.problem, self.line, self.row = problem, line, row


def find_cut(path: Path, offset: int, between_blocks: bool) -> int:
    """The first place at or after byte `offset` where no document is cut in two. `between_blocks`:
    only a blank line ends a document; else every line does."""
    if offset == 0:
        return 0
    with path.open("rb") as file:
        file.seek(offset - 1)
        _is_blank(file)
        while between_blocks and not _is_blank(file):
            pass
        return file.tell()


def _is_blank(file: BinaryIO) -> bool:
    """Read a line, which may be endless; whether it holds nothing, or nothing is left."""
    blank = True
    while piece := file.readline(STEP):
        blank = blank and not piece.strip()
        if piece.endswith(b"\n"):
            break
    return blank


def open_bytes(path: Path, part: ByteRange | None = None) -> BufferedReader:
    """A stream of a file's bytes, unpacked where its name says so; of `part` alone if given."""
    return open_unpacked(path) if part is None else BufferedReader(_RangeReader(path, part))


def open_text(stream: BufferedReader, encoding: str, newline: str | None) -> TextIOWrapper:
    """The stream as text, in which bytes that are no characters are lone surrogates; a byte order
    mark outranks `encoding`, and `newline` ends a line, as in `open`."""
    codec = marked_encoding(stream.peek(4)) or encoding
    return TextIOWrapper(stream, codec, errors="surrogateescape", newline=newline)


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte order mark at the beginning of a file names."""
    return next((name for mark, name in BOMS if head.startswith(mark)), None)


def text_lines(text: TextIOWrapper, most: int) -> Iterator[str]:
    """Lines, with their ends, of what `open_text` gives.

    Raises `Fault` for a line of more than `most` bytes of UTF-8, and as `check_characters` does.
    """
    number = 1
    while line := text.readline(most + 1):
        check_characters(line, text, number)
        if utf8_length(line) > most:
            raise Fault(too_long("a line", most), number)
        yield line
        number += 1


def at_returns(lines: Iterator[str]) -> Iterator[str]:
    """Lines, which end at carriage returns in a file that has no other ends, and nowhere else."""
    first = next(lines, "")
    yield from [first] if first.endswith("\n") else StringIO(first, newline="\r")
    yield from lines


def check_characters(piece: str, text: TextIOWrapper, number: int) -> None:
    """Raise `Fault` where a piece of `text` holds bytes that are no characters, or NUL, which no
    text has; `number` is that of its first line."""
    if piece.isascii() and "\0" not in piece:  # nearly every piece, and quickly seen
        return
    odd = ODD.search(piece)
    if odd is None:
        return
    start = piece.rfind("\n", 0, odd.start()) + 1
    number += piece.count("\n", 0, start)
    if odd[0][0] == "\0":
        what = "a NUL, which no text holds, so it is binary or UTF-16"
        raise Fault(f"{what}: {encoding_cure(b'')}", number)
    codec = text.encoding.removesuffix("-sig")
    place = len(piece[start : odd.start()].encode(codec, "surrogateescape")) + 1
    sample = piece[odd.start() :][:SAMPLE] + text.read(SAMPLE)
    cure = encoding_cure(sample.encode(codec, "surrogateescape"))
    raise Fault(f"byte {place} is not {codec.upper()}: {cure}", number)


def encoding_cure(sample: bytes) -> str:
    """What to do about bytes that are no characters; `sample` holds some and what follows them.

    A detector proposes, and never decodes.
    """
    likely = propose(sample) if sample else None
    if likely is None:
        return "name the encoding of the file in data.sources.N.encoding, or convert it"
    return f"it seems to be {likely}: set data.sources.N.encoding={likely}, or convert it"


def utf8_length(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def too_long(what: str, most: int) -> str:
    """The message for `what`, which is longer than `most` bytes."""
    return (
        f"{what} of more than {most / 1e6:g} MB: cut it into documents, or raise "
        f"data.sources.N.longest_document_megabytes={most / 1e6:g}, for which memory must suffice"
    )


def list_names(names: list[str]) -> str:
    """Columns for people, spaces around a name made visible; a header that was not cut is named."""
    shown = [n if n == n.strip() and n.isprintable() else repr(n) for n in names[:NAMED_COLUMNS]]
    more = ", ..." if len(names) > NAMED_COLUMNS else ""
    uncut = len(names) == 1 and UNCUT.search(names[0])
    cure = " (one cell: put commas between cells in .csv, tabs in .tsv)" if uncut else ""
    return ", ".join(shown) + more + cure


def blocks(lines: Iterable[str], most: int) -> Iterator[str]:
    """Runs of lines between blank lines, without their last end; raises `Fault`: a run is longer
    than `most` UTF-8 bytes."""
    block, size, first = StringIO(newline="\n"), 0, 1
    for number, line in enumerate(lines, start=1):
        if line.strip():
            first = first if size else number
            block.write(line)
            size += utf8_length(line)
            if size > most:
                what = "no blank line, which ends a document, in a text"
                cure = "; if each line is a document, set data.sources.N.documents=line"
                raise Fault(too_long(what, most) + cure, first)
        elif size:
            yield block.getvalue().removesuffix("\n")
            block, size = StringIO(newline="\n"), 0
    if size:
        yield block.getvalue().removesuffix("\n")


class _RangeReader(RawIOBase):
    """The bytes of one range of a file."""

    def __init__(self, path: Path, part: ByteRange) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(part.start)
        self._left = part.end - part.start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of a BufferedReader
        count = self._file.readinto(memoryview(buffer)[: max(0, self._left)])
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
