"""Texts out of the files of a source, streamed document by document.

`find_files.py` finds the files, `compression.py` unpacks them, `lines.py` reads lines, `rows.py`
and `parquet.py` the texts of a column; here a file goes to its reader, and what is wrong in it gets
a name and place.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from configs.errors import InputError, first_line
from configs.schema import SourceConfig
from pretrain.text.compression import compression_of, plain_name
from pretrain.text.encoding import is_surely_utf8
from pretrain.text.lines import (
    STEP,
    ByteRange,
    Fault,
    blocks,
    marked_encoding,
    open_bytes,
    open_text,
    text_lines,
)
from pretrain.text.parquet import parquet_texts
from pretrain.text.rows import Column, csv_texts, json_line_texts, json_texts

SPLITTABLE = ("utf-8", "utf8", "utf_8", "ascii")
"""encodings in which a byte of a line's end is nothing else"""


def can_split(path: Path, source: SourceConfig) -> bool:
    """Whether a file can be read from the middle: plain text or JSON, line by line."""
    in_lines = source.kind == "text" or (source.kind == "jsonl" and path.suffix.lower() != ".json")
    if not in_lines or compression_of(path) or source.encoding.lower() not in SPLITTABLE:
        return False
    with path.open("rb") as file:
        return marked_encoding(file.read(4)) in (None, "utf-8-sig")


def read_file(path: Path, source: SourceConfig, part: ByteRange | None = None) -> Iterator[str]:
    """The texts of one file, in memory that does not grow with the file; rows without one are "".

    Args:
        part: read these bytes alone, of a file that `can_split`.
    Raises:
        InputError: the file is damaged, not in its encoding, or holds a document beyond
            `longest_document_megabytes`; a row is broken, or the column is missing.
    """
    if not path.stat().st_size:
        return
    try:
        yield from _read(path, source, part)
    except InputError:
        raise
    except Fault as fault:
        raise InputError(f"{path}{_place(path, part, fault)}: {fault.problem}") from fault
    except MemoryError as error:
        raise InputError(f"{path}: memory does not hold its longest document: cut it") from error
    except Exception as error:  # of bz2, lzma, zlib, zstandard and pyarrow, which share no class
        raise InputError(_damage(path, source, error)) from error


def largest(source: SourceConfig) -> int:
    """UTF-8 bytes of the longest document that is read."""
    return int(source.longest_document_megabytes * 1e6)


def _read(path: Path, source: SourceConfig, part: ByteRange | None) -> Iterator[str]:
    most, encoding = largest(source), source.encoding
    column = Column(source.column, most, encoding)
    if source.kind == "parquet":
        yield from parquet_texts(path, column)
        return
    if part is None:
        _check_told(path, encoding)
    newline = {"text": None, "jsonl": "\n", "csv": "\n"}[source.kind]
    with open_bytes(path, part) as stream, open_text(stream, encoding, newline) as text:
        lines = text_lines(text, most)
        if source.kind == "jsonl" and plain_name(path).endswith(".json"):
            yield from json_texts(text, column)
        elif source.kind == "jsonl":
            yield from json_line_texts(lines, column)
        elif source.kind == "csv":
            yield from csv_texts(lines, column, tabs=plain_name(path).endswith(".tsv"))
        elif source.documents == "line":
            yield from (line.removesuffix("\n") for line in lines if line.strip())
        else:
            yield from blocks(lines, most)


def _check_told(path: Path, encoding: str) -> None:
    """Raise `Fault` for UTF-8 that the user calls something else: it would read as well, as other
    characters."""
    if codecs.lookup(encoding).name.startswith("utf-8"):
        return
    with open_bytes(path) as stream:
        if not marked_encoding(stream.peek(4)) and is_surely_utf8(stream):
            raise Fault(
                f"this file is UTF-8, not {encoding}: leave data.sources.N.encoding out, or "
                "convert it if the source's others are not"
            )


def _place(path: Path, part: ByteRange | None, fault: Fault) -> str:
    if fault.row:
        return f", row {fault.row}"
    if not fault.line:
        return ""
    return f", line {fault.line + (_lines_before(path, part.start) if part else 0)}"


def _lines_before(path: Path, end: int) -> int:
    """Ends of lines in the first `end` bytes of a file."""
    count = 0
    with path.open("rb") as file:
        while end and (piece := file.read(min(end, STEP))):
            count += piece.count(b"\n")
            end -= len(piece)
    return count


def _damage(path: Path, source: SourceConfig, error: Exception) -> str:
    reason = first_line(error)
    if isinstance(error, EOFError):
        return f"{path}: truncated ({reason}): fetch it anew"
    if isinstance(error, UnicodeDecodeError):
        return (
            f"{path}: not {source.encoding.upper()} ({reason}): name the encoding of the file in "
            "data.sources.N.encoding"
        )
    if source.kind == "parquet":
        return f"{path}: cannot be read as parquet ({reason}): fetch it anew"
    return f"{path}: damaged or truncated ({reason}): fetch it anew"
