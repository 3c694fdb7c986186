"""The texts of one column out of JSON and CSV: as they are written, or not at all.

A text is a string. A number, a date, a list in its place is refused, since what a reader would make
of it (`007` to 7, NA to nothing) is not what the file says; null is no text, and given as "".
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, Literal

from pretrain.text.encoding import SAMPLE
from pretrain.text.lines import (
    Fault,
    at_returns,
    check_characters,
    encoding_cure,
    list_names,
    too_long,
)

MISSING_SHARE = 0.01
"""of rows without the column; more are refused"""
READ = 1 << 20
"""characters of JSON, at least"""
KINDS = {dict: "an object", list: "a list", bool: "a truth value", bytes: "bytes"}


class _Number(str):
    """A number as it is written."""


class _Repeated(dict[str, Any]):
    """An object with two values of one name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    by_name = dict(pairs)
    return by_name if len(by_name) == len(pairs) else _Repeated(pairs)


DECODER = json.JSONDecoder(
    parse_int=_Number, parse_float=_Number, parse_constant=_Number, object_pairs_hook=_object
)


class Column:
    """Takes the texts of one column out of rows, and says what is wrong with one."""

    def __init__(self, name: str, most: int, encoding: str = "utf-8") -> None:
        """`most`: UTF-8 bytes of the longest text; `encoding`: that of values that are bytes."""
        self.name, self.most, self.encoding = name, most, encoding

    def text(self, value: Any, line: int | None = None, row: int | None = None) -> str:
        """A value as text, "" for null; raises `Fault`, which stands in this line or row."""
        if value is None:
            return ""
        try:
            plain = value.decode(self.encoding) if isinstance(value, bytes) else value
            if type(plain) is not str:
                problem = f"column '{self.name}' holds {_kind(plain)}, not text: {COLUMN_CURE}"
            elif "\0" in plain:
                problem = "a NUL character, which no text holds: repair or remove it"
            elif len(plain.encode()) > self.most:
                problem = too_long("a text", self.most)
            else:
                return plain
        except UnicodeDecodeError as error:
            problem = (
                f"column '{self.name}' holds bytes that are not {self.encoding.upper()} (byte "
                f"{error.start + 1}): {encoding_cure(value[:SAMPLE])}"
            )
        except UnicodeEncodeError:
            problem = "a lone surrogate (an escape such as \\ud83d alone): repair or remove it"
        raise Fault(problem, line, row)

    def check_names(self, names: list[str]) -> None:
        """Raise `Fault` where the column is missing or occurs twice."""
        if self.name not in names:
            raise Fault(self.missing(names))
        if names.count(self.name) > 1:
            raise Fault(f"{names.count(self.name)} columns are called '{self.name}': rename one")

    def missing(self, names: list[str]) -> str:
        """The message where the column is none of `names`."""
        return f"no column '{self.name}': set data.sources.N.column to one of {list_names(names)}"


COLUMN_CURE = "choose another by data.sources.N.column, or write it as text"


def _kind(value: Any) -> str:
    if isinstance(value, _Number):
        return f"a number ({value[:40]})"
    return KINDS.get(type(value), f"a {type(value).__name__}")


# -- JSON ------------------------------------------------------------------------------------------


def json_line_texts(lines: Iterator[str], column: Column) -> Iterator[str]:
    """The texts of JSON lines; blank lines are passed over; raises `Fault`: a line is no JSON or no
    object, or the column is missing in too many."""
    rows = ((n, _parse(line, n)) for n, line in enumerate(lines, start=1) if line.strip())
    return _object_texts(rows, column)


def json_texts(text: TextIOWrapper, column: Column) -> Iterator[str]:
    """The texts of JSON objects that follow one another or make one list; raises as above."""
    return _object_texts(_json_items(text, column.most), column)


def _object_texts(rows: Iterator[tuple[int, Any]], column: Column) -> Iterator[str]:
    """The texts of objects, each of which comes with its line."""
    count = lacking = 0
    first: tuple[int, list[str]] = (0, [])
    for line, row in rows:
        count += 1
        if not isinstance(row, dict):
            form = 'write each document as {"text": "..."}'
            raise Fault(f"{_kind(row) if row is not None else 'null'}, not an object: {form}", line)
        if isinstance(row, _Repeated):
            raise Fault("an object with two values of one name: rename one", line)
        if column.name not in row:
            lacking += 1
            first = first if first[0] else (line, list(row))
        yield column.text(row.get(column.name), line)
    if lacking > MISSING_SHARE * count:
        share = f" in {lacking:,} of {count:,} rows" if lacking < count else ""
        raise Fault(column.missing(first[1]) + share, first[0])


def _parse(line: str, number: int) -> Any:
    plain = line.removeprefix("\ufeff")  # files that were joined have one before each part
    try:
        return DECODER.decode(plain.rstrip("\r\n"))
    except (ValueError, RecursionError) as error:
        raise Fault(_broken(error), number) from error


def _broken(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON ({error.msg}, column {error.colno}): repair or remove it"
    return "JSON that is nested too deeply: repair or remove it"


GAP = re.compile(r"[\s,]*")


def _json_items(text: TextIOWrapper, most: int) -> Iterator[tuple[int, Any]]:
    """The values of JSON that is written over any number of lines, each with its line."""
    # `buffer` holds what was read of the file and not yet given; the next value begins at `place`,
    # in line `line` of the file.
    buffer, place, line, is_list, ended = "", 0, 1, None, False
    while True:
        start = _after_gap(buffer, place)
        if is_list is None and start < len(buffer):
            is_list = buffer[start] == "["
            start = _after_gap(buffer, start + is_list)
        line, place = line + buffer.count("\n", place, start), start
        if is_list and buffer[place : place + 1] == "]":
            if buffer[place + 1 :].strip() or text.read(READ).strip():
                raise Fault("something follows the list that is the file: remove it", line)
            return
        problem: Exception | None = None
        try:
            # A value that ends where the buffer does may continue in what follows: 12 of 123.
            value, end = DECODER.raw_decode(buffer, place)
            complete = end < len(buffer) or ended
        except (ValueError, RecursionError) as error:
            complete, problem = False, error
        if complete:
            yield line, value
            line, place = line + buffer.count("\n", place, end), end
        elif ended:
            if place < len(buffer) or is_list:
                raise _broken_item(problem, buffer, place, line)
            return
        elif isinstance(problem, RecursionError):
            raise Fault(_broken(problem), line)
        elif len(buffer) - place > most:
            if _is_open(problem, buffer):
                raise Fault(too_long("a row", most), line)
            raise _broken_item(problem, buffer, place, line)
        else:
            # As much again each time: a long value is then parsed a few times, not once a megabyte.
            piece = text.read(max(READ, len(buffer) - place))
            check_characters(piece, text, line + buffer.count("\n", place))
            buffer, place, ended = buffer[place:] + piece, 0, not piece


def _after_gap(buffer: str, place: int) -> int:
    """The first place from `place` on that is neither space nor comma."""
    gap = GAP.match(buffer, place)
    return gap.end() if gap else place


def _is_open(problem: Exception | None, buffer: str) -> bool:
    """Whether JSON might be whole if more of it were read."""
    reached = getattr(problem, "pos", len(buffer)) >= len(buffer) - len("false")
    return reached or str(problem).startswith("Unterminated")


def _broken_item(problem: Exception | None, buffer: str, place: int, line: int) -> Fault:
    if place == len(buffer):
        return Fault("the list has no end, so the file is truncated: fetch it anew", line)
    at = getattr(problem, "pos", place)
    what = f"broken JSON ({getattr(problem, 'msg', problem)}): repair or remove it"
    return Fault(what, line + buffer.count("\n", place, at))


# -- CSV -------------------------------------------------------------------------------------------


def csv_texts(lines: Iterator[str], column: Column, tabs: bool) -> Iterator[str]:
    """The texts of a table with a header line.

    Args:
        tabs: cells stand between tabs, and a quote is a character like any other, as in the field's
            .tsv files (GLUE, NSMC); else between commas, and quoted where they hold one.
    Raises:
        Fault: a row has more or fewer cells than the header, or broken quotes.
    """
    delimiter = "\t" if tabs else ","
    quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    csv.field_size_limit(column.most)
    # Lenient reading would take all that follows a quote left open for one cell.
    reader = csv.reader(at_returns(lines), strict=True, delimiter=delimiter, quoting=quoting)
    try:
        header = next(reader, None)
        if header is None:
            return
        column.check_names(header)
        place = header.index(column.name)
        for row in filter(None, reader):
            if len(row) != len(header):
                raise Fault(
                    f"{len(row)} cells where the header has {len(header)}: repair or remove the row"
                )
            yield column.text(row[place], reader.line_num)
    except csv.Error as error:
        what = str(error)
        long = too_long("a cell, or a quote left open,", column.most)
        cure = "quote whole cells, and double a quote inside one"
        problem = long if "larger than" in what else f"broken quotes ({what}): {cure}"
        if "new-line" in what:
            problem = "a carriage return alone: replace it, or quote its cell in a .csv file"
        raise Fault(problem, reader.line_num) from error
    except Fault as fault:
        raise Fault(fault.problem, fault.line or reader.line_num) from fault
