"""Rows out of csv, tsv, json and jsonl files, with the numbers a person would count them by.

Bytes are UTF-8. Two accidents are repaired and counted: text that went through Latin-1 on its way
(so that Windows-1252's quotes and dashes became control characters), and rows that were cut inside
a character.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from configs.errors import InputError

OPENERS = {".gz": gzip.open, ".xz": lzma.open}
REPLACEMENT = "\ufffd"
C1 = range(0x80, 0xA0)
WINDOWS = {code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in C1}
"""U+0080 to U+009F to what Windows-1252 has in their place"""


@dataclass(frozen=True)
class Table:
    """A file's rows, all values strings."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    numbers: list[int]
    """of each row, from 1; the header is not counted"""
    repaired: int
    """rows whose control characters became Windows-1252's"""
    cut: int
    """rows that hold a part of a character, shown as U+FFFD"""


def read_table(path: Path, columns: list[str] | None = None) -> Table:
    """The rows of a file.

    Args:
        path: .csv (quoted; line breaks inside quotes), .tsv or .txt (tabs; a quote is a character
            like any other, as in GLUE), .json (a list of objects) or .jsonl; also .gz and .xz.
        columns: names of the columns where the file has no header line.
    Raises:
        InputError: no such file, no row, or a broken one.
    """
    text = read_text(path)
    suffix = next((s for s in reversed(path.suffixes) if s not in OPENERS), "")
    if suffix in (".json", ".jsonl"):
        names, rows = _objects(path, text, suffix)
    elif suffix in (".csv", ".tsv", ".txt"):
        names, rows = _cells(path, text, "," if suffix == ".csv" else "\t", columns)
    else:
        raise InputError(f"{path}: unknown kind of table: name a .csv, .tsv, .json or .jsonl file")
    if not rows:
        raise InputError(f"{path}: no rows: name a file with at least one")
    repaired = [_repair(row) for row in rows]
    return Table(
        path=path,
        columns=names,
        rows=[row for row, _, _ in repaired],
        numbers=list(range(1, len(rows) + 1)),
        repaired=sum(was_c1 for _, was_c1, _ in repaired),
        cut=sum(was_cut for _, _, was_cut in repaired),
    )


def read_text(path: Path) -> str:
    """The file's text, decompressed; bytes that are no UTF-8 become U+FFFD."""
    path = find_file(path)
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as stream:
            return stream.read().decode("utf-8-sig", errors="replace")
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: damaged or cut off ({error}): fetch it anew") from error


def find_file(path: Path) -> Path:
    """The file of this name, or where it is missing the same name compressed.

    Raises:
        InputError: there is neither.
    """
    packed = (path.with_name(path.name + ending) for ending in ("", *OPENERS))
    found = next((candidate for candidate in packed if candidate.is_file()), None)
    if found is None:
        raise InputError(f"{path}: no such file: check task.folder and the file's name")
    return found


def require_columns(table: Table, columns: list[str], field: str) -> None:
    """Raise `InputError` for the first of `columns` that the table lacks."""
    for column in columns:
        if column not in table.columns:
            raise InputError(
                f"{table.path}: no column '{column}': set {field} to one of "
                f"{', '.join(table.columns)}"
            )


def _cells(
    path: Path, text: str, delimiter: str, columns: list[str] | None
) -> tuple[list[str], list[dict[str, str]]]:
    filled = _filled_lines(path, text, delimiter, has_header=not columns)
    names = columns or next(filled, [])
    rows = []
    for number, cells in enumerate(filled, start=1):
        if len(cells) != len(names):
            raise InputError(
                f"{path}, row {number}: {len(cells)} fields where {len(names)} are expected "
                f"({', '.join(names)}): repair the row, or name the columns of a file without a "
                "header by task.columns"
            )
        rows.append(dict(zip(names, cells)))
    return list(names), rows


def _filled_lines(path: Path, text: str, delimiter: str, has_header: bool) -> Iterator[list[str]]:
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    csv.field_size_limit(2**31 - 1)
    stream = io.StringIO(text, newline="")
    # Lenient reading would take all that follows a quote left open for one field.
    lines = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True)
    number = 0 if has_header else 1
    try:
        for cells in filter(None, lines):
            yield cells
            number += 1
    except csv.Error as error:
        raise InputError(
            f"{path}, row {number}: broken quotes ({error}): quote whole fields, and double a "
            "quote inside one"
        ) from error


def _objects(path: Path, text: str, suffix: str) -> tuple[list[str], list[dict[str, str]]]:
    rows = []
    for number, content in enumerate(_parsed(path, text, suffix), start=1):
        if not isinstance(content, dict):
            raise InputError(f"{path}, row {number}: no JSON object: repair or remove it")
        rows.append({key: _string(value) for key, value in content.items()})
    names = list(dict.fromkeys(key for row in rows for key in row))
    return names, [{name: row.get(name, "") for name in names} for row in rows]


def _parsed(path: Path, text: str, suffix: str) -> Iterator[object]:
    pieces = [(1, text)] if suffix == ".json" else enumerate(text.split("\n"), start=1)
    for line, piece in pieces:
        if not piece.strip():
            continue
        try:
            content = json.loads(piece)
        except ValueError as error:
            where = f"line {line + getattr(error, 'lineno', 1) - 1}"
            raise InputError(f"{path}, {where}: broken JSON ({error}): repair it") from error
        yield from content if isinstance(content, list) else [content]


def _string(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Escapes such as \ud83d may be the half of a character that was cut.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _repair(row: dict[str, str]) -> tuple[dict[str, str], bool, bool]:
    """(the row repaired, whether that changed it, whether it was cut)."""
    # NEL (U+0085) alone is a line end of some systems, but as Windows-1252 it is the ellipsis.
    plain = {name: value.translate(WINDOWS) for name, value in row.items()}
    return plain, plain != row, any(REPLACEMENT in value for value in row.values())
