"""Rows out of JSON: a list of objects, or an object a line; every value as the file writes it."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from pretrain.text.encoding import lines_of

SHOWN = 5
"""columns that a note names"""
Json = Any
"""whatever a JSON text may hold"""
Cell = str | list[Json] | dict[str, Json]
"""of a row: a list or an object is no text, which whoever wants its column is told"""


def load_json(text: str, where: str, line: int = 1, exact: bool = False) -> Json:
    """The value of a JSON text.

    Args:
        line: number of its first line in the file.
        exact: numbers are the strings that the file holds (1.0 stays 1.0), and NaN, which pandas
            writes for an empty cell, is null.
    Raises:
        InputError: broken JSON, or an object that names something twice.
    """
    numbers: dict[str, Any] = {"parse_float": str, "parse_int": str} if exact else {}
    constant = _missing if exact else _no_number
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=constant, **numbers)
    except RecursionError as error:
        raise InputError(f"{where}, line {line}: JSON nested too deeply: repair it") from error
    except ValueError as error:
        place = f"line {line + getattr(error, 'lineno', 1) - 1}"
        raise InputError(f"{where}, {place}: broken JSON ({error}): repair it") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has '{twice}' twice")
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _missing(name: str) -> None:
    if name != "NaN":
        _no_number(name)


def json_rows(
    path: Path, text: str, suffix: str, notes: list[str]
) -> tuple[list[str], list[list[Cell]]]:
    """(names of the columns, cells of each row); columns that rows lack are told in `notes`.

    Raises:
        InputError: broken JSON, or a row that is no object.
    """
    rows = []
    for number, content in enumerate(parsed(path, text, suffix, exact=True), start=1):
        if not isinstance(content, dict):
            raise InputError(f"{path}, row {number}: no JSON object: repair or remove it")
        rows.append({key: _value(value) for key, value in content.items()})
    names = list(dict.fromkeys(key for row in rows for key in row))
    lacking = {name: sum(name not in row for row in rows) for name in names}
    if short := [f"{name} ({count:,})" for name, count in lacking.items() if count]:
        more = f" and {len(short) - SHOWN:,} more" if len(short) > SHOWN else ""
        notes.append(
            f"{path.name}: columns that some rows of {len(rows):,} lack, and that are empty there: "
            f"{', '.join(short[:SHOWN])}{more}"
        )
    return names, [[row.get(name, "") for name in names] for row in rows]


def parsed(path: Path, text: str, suffix: str, exact: bool = False) -> Iterator[Json]:
    """The values in a file, those of lists one by one; `exact` as in `load_json`."""
    by_lines = suffix in (".jsonl", ".ndjson") or (suffix == ".json" and _is_by_lines(text))
    lines = lines_of(io.StringIO(text)) if by_lines else [text]
    for number, piece in enumerate(lines, start=1):
        piece = piece.removeprefix("\ufeff")  # files that were joined have one before each part
        if piece.strip():
            content = load_json(piece, str(path), number, exact)
            yield from content if isinstance(content, list) else [content]


def _is_by_lines(text: str) -> bool:
    """Whether a .json file holds an object a line, as CLUE's and pandas' do."""
    first, _, rest = text.removeprefix("\ufeff").strip().partition("\n")
    if not (first.startswith("{") and rest):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _value(value: Cell | bool | None) -> Cell:
    """A cell as the file writes it: null is empty, true is true."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
