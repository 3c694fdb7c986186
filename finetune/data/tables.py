"""Rows out of csv, tsv, json and jsonl files, with the numbers a person would count them by.

Every value is the string that the file holds: numbers keep their figures, text its characters.
What is no text is counted by `pretrain/text/encoding.py`, and so is one repair: of text that went
through Latin-1 on its way, so that Windows-1252's quotes and dashes became control characters.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.json_rows import Cell, json_rows
from pretrain.text.compression import COMPRESSIONS, open_unpacked, plain_name
from pretrain.text.encoding import Decoder, Encoding, lines_of
from pretrain.text.lines import list_names

ID_COLUMNS = ("id", "guid", "UserName", "idx", "index")
JSON = (".json", ".jsonl", ".ndjson")
Rows = Sequence[Sequence[Cell]]
ROW_CURE = "fill or remove the row"
FIELDS_CURE = "repair the row, or name the columns of a file without a header by task.columns"


@dataclass(frozen=True)
class TableFile:
    """A file's rows, all values strings."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    numbers: list[int]
    """of each row, from 1; the header is not counted"""
    ids: list[str]
    """of each row: what the file calls it, or else its number"""
    nested: dict[str, str]
    """columns of json that hold lists or objects, with the first place"""
    left_out: dict[int, str] = field(default_factory=dict)
    """rows that are in the file but not in `rows`: what is wrong with each, by its number"""

    @property
    def total(self) -> int:
        """Rows of the file."""
        return len(self.rows) + len(self.left_out)

    def without(self, wrong: Mapping[int, str]) -> TableFile:
        """The table with further rows left out, by their numbers."""
        kept = [place for place, number in enumerate(self.numbers) if number not in wrong]
        left_out = dict(sorted({**self.left_out, **wrong}.items()))
        return replace(self.chosen(kept), left_out=left_out)

    def chosen(self, places: Sequence[int]) -> TableFile:
        """The rows at some places of `rows`, in that order."""
        return replace(
            self,
            rows=[self.rows[place] for place in places],
            numbers=[self.numbers[place] for place in places],
            ids=[self.ids[place] for place in places],
        )


def encoding_of(task: TaskConfig) -> Encoding:
    """How the files of a task are to be decoded."""
    return Encoding(task.encoding, task.most_bad_rows, task.repair_controls)


def read_table(
    path: Path,
    columns: list[str] | None = None,
    encoding: Encoding | None = None,
    header: Collection[str] = (),
    leaves_out: bool = False,
) -> TableFile:
    """The rows of a file.

    Args:
        path: .csv (quoted; line breaks inside quotes), .tsv or .txt (tabs; a quote is a character
            like any other, as in GLUE), .json (a list of objects, or one a line), .jsonl or
            .ndjson; also compressed (COMPRESSIONS).
        columns: names of the columns where the file has no header line.
        encoding: how to decode it; its notes tell what reading changed.
        header: cells by which a first line is known to be a header in spite of `columns`, as in
            CoLA's test file.
        leaves_out: whether rows with another number of fields are left out, as long as their share
            is not beyond what `encoding` lets pass; else the first is refused.
    Raises:
        InputError: no such file, no row, a broken one, two columns of one name, or more rows with
            bad bytes than `encoding` lets pass.
    """
    encoding = encoding or Encoding()
    decoder = encoding.decoder(str(path), repairs=encoding.repairs)
    text, suffix = read_text(path, decoder), suffix_of(path)
    if suffix not in (*JSON, ".csv", ".tsv", ".txt"):
        raise InputError(f"{path}: unknown kind of table: name a .csv, .tsv, .json or .jsonl file")
    rows: Rows
    wrong: dict[int, str] = {}
    try:
        if suffix in JSON:
            names, rows = json_rows(path, text, suffix, encoding.notes)
        else:
            if suffix == ".csv":
                lines = list(_quoted(path, text, first=1 if columns else 0))  # a header is row 0
            else:
                lines = [line.split("\t") if line else [] for line in lines_of(io.StringIO(text))]
            if blank := sum(not cells for cells in lines):
                encoding.notes.append(f"{path.name}: {blank:,} blank lines are no rows")
            names, rows, wrong = _cells(lines, columns, header)
            most = encoding.most_bad if leaves_out else 0.0
            refuse_many(path, wrong, len(rows) + len(wrong), most, FIELDS_CURE)
    except InputError as error:
        raise decoder.blame(text, error) from error
    if not rows:
        raise InputError(f"{path}: no rows: name a file with at least one")
    return _decoded(path, decoder, names, rows, wrong)


def refuse_many(
    path: Path, wrong: Mapping[int, str], rows: int, most: float, cure: str = ROW_CURE
) -> None:
    """Raise `InputError` for the first of the wrong rows if their share is beyond `most`.

    Args:
        wrong: what is wrong with each, by its number.
        rows: of the file, wrong ones included.
    """
    if len(wrong) <= most * rows:
        return
    first = min(wrong)
    share = ""
    if most:
        share = f"; {len(wrong):,} of {rows:,} rows are bad, above task.most_bad_rows={most:g}"
    raise InputError(f"{path}, row {first}: {wrong[first]}: {cure}{share}")


def counted(wrong: Mapping[int, str]) -> str:
    """`2 with 3 fields where 6 are expected, 1 with ...; the first is row 7`."""
    kinds = ", ".join(f"{n:,} with {what}" for what, n in Counter(wrong.values()).most_common())
    return f"{kinds}; the first is row {min(wrong)}"


def read_text(path: Path, decoder: Decoder) -> str:
    """The file's text, decompressed, with marks that `decoder.plain` takes from its rows.

    Raises:
        InputError: no such file, a damaged one, or one in another encoding.
    """
    with open_file(path) as stream:
        content = stream.read()
    return decoder.text(content)


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed; `InputError` as `read_text` while it is read."""
    path = find_file(path)
    try:
        with open_unpacked(path) as stream:
            yield stream
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: damaged or truncated ({error}): fetch it anew") from error


def suffix_of(path: Path) -> str:
    """The ending that tells a file's kind: that before .gz and the like."""
    return Path(plain_name(path)).suffix


def find_file(path: Path) -> Path:
    """The file of this name, or where it is missing the same name compressed.

    Raises:
        InputError: there is neither.
    """
    names = (path.with_name(path.name + ending) for ending in ("", *COMPRESSIONS))
    existing = next((candidate for candidate in names if candidate.is_file()), None)
    if existing is None:
        raise InputError(f"{path}: no such file: check task.folder and the file's name")
    return existing


def require_columns(table: TableFile, columns: list[str], field: str) -> None:
    """Raise `InputError` for the first of `columns` that the table lacks, or that holds no text."""
    for column in columns:
        if column not in table.columns:
            raise InputError(
                f"{table.path}: no column '{column}': set {field} to one of "
                f"{list_names(table.columns)}"
            )
        if column in table.nested:
            raise InputError(
                f"{table.path}, {table.nested[column]}: column '{column}' holds a list or an "
                f"object, not text: set {field} to another column, or write its text"
            )


def _decoded(
    path: Path, decoder: Decoder, names: list[str], rows: Rows, wrong: dict[int, str]
) -> TableFile:
    """The table of cells that may hold marks, lists and objects."""
    columns = decoder.names(names)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{path}: two columns are called '{twice[0]}': rename or remove one")
    nested: dict[str, str] = {}
    plain_rows = []
    numbers = [n for n in range(1, len(rows) + len(wrong) + 1) if n not in wrong]
    for number, row in zip(numbers, rows):
        for name, value in zip(columns, row):
            if not isinstance(value, str):
                nested.setdefault(name, f"row {number}")
        cells = [v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in row]
        plain_rows.append(dict(zip(columns, decoder.plain(cells))))
    decoder.finish()
    own = next((name for name in ID_COLUMNS if name in columns and name not in nested), None)
    ids = [row[own] for row in plain_rows] if own else []
    empty, distinct = sum(not i.strip() for i in ids), len(set(ids))
    name, notes = path.name, decoder.encoding.notes
    if empty:
        notes.append(
            f"{name}: column '{own}' is empty in {empty:,} of {len(ids):,} rows: ids are the "
            "rows' numbers"
        )
    elif distinct < len(ids):
        notes.append(f"{name}: {len(ids):,} rows have {distinct:,} different ids in column '{own}'")
    if empty or not own:
        ids = [str(number) for number in numbers]
    return TableFile(path, columns, plain_rows, numbers, ids, nested, wrong)


def _cells(
    lines: list[list[str]], columns: list[str] | None, header: Collection[str]
) -> tuple[list[str], list[list[str]], dict[int, str]]:
    """(names, rows, what is wrong with the rows left out, by their numbers)."""
    filled = [cells for cells in lines if cells]
    names = columns or []
    if filled and (not columns or (header and set(header) <= set(filled[0]))):
        # Columns without a name, as spreadsheets leave them, are called by their place.
        names = [name or f"column {place}" for place, name in enumerate(filled.pop(0), start=1)]
    expected = f"{len(names)} are expected ({', '.join(names)})"
    wrong = {
        number: f"{len(cells)} fields where {expected}"
        for number, cells in enumerate(filled, start=1)
        if len(cells) != len(names)
    }
    rows = [cells for number, cells in enumerate(filled, start=1) if number not in wrong]
    return list(names), rows, wrong


def _quoted(path: Path, text: str, first: int) -> Iterator[list[str]]:
    """The fields of every row; `first` is how messages call the first one."""
    csv.field_size_limit(2**31 - 1)
    # A carriage return alone ends rows in a file that has no other line ends, and nowhere else.
    stream = io.StringIO(text, newline="\n" if "\n" in text else "\r")
    # Lenient reading would take all that follows a quote left open for one field.
    lines, number = csv.reader(stream, strict=True), first
    try:
        for cells in lines:
            yield cells
            number += bool(cells)
    except csv.Error as error:
        broken, cure = "broken quotes", "quote whole fields, and double a quote inside one"
        if "new-line" in str(error):
            broken, cure = "a carriage return alone", "quote the field that holds it"
        raise InputError(f"{path}, row {number}: {broken} ({error}): {cure}") from error
