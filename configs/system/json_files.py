"""JSON files that others wrote, or that a crash may have torn: bounded, and checked as a whole."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.system.files import check_regular

LARGEST = 1 << 28
"""bytes; the largest published tokenizer.json has 35 MB"""
DEEPEST = 32
"""levels of tables and lists in one another"""
LONGEST_SHOWN = 60
REMAKE = "make or copy it anew"


def read_json(path: Path, cure: str = REMAKE, infinite: bool = False) -> dict[str, Any]:
    """The table (JSON object) in a file.

    Args:
        cure: the end of every message.
        infinite: NaN and Infinity, which are no JSON but which Python writes, may be in it.

    Raises:
        InputError: no ordinary file, beyond `LARGEST`, not UTF-8, no JSON, a name that stands
            twice in a table, deeper than `DEEPEST`, or no table.
    """
    check_regular(path)
    size = path.stat().st_size
    if size > LARGEST:
        raise InputError(f"{path} has {size:,} bytes, more than {LARGEST:,}: {cure}")
    try:
        content = parse_json(path.read_bytes(), infinite)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: damaged (byte {error.start:,} is no UTF-8): {cure}") from error
    except ValueError as error:
        raise InputError(f"{path}: damaged (no JSON: {error}): {cure}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged (no JSON object): {cure}")
    return content


def recall_json(path: Path) -> dict[str, Any]:
    """The table in a file that is no loss; empty where it is missing or damaged."""
    try:
        return read_json(path)
    except InputError:
        return {}


def parse_json(content: bytes, infinite: bool) -> object:
    """The value that JSON text stands for; `ValueError` says what is wrong with it."""
    text = content.decode("utf-8-sig")
    number = None if infinite else _finite
    try:
        value: object = json.loads(
            text, object_pairs_hook=_table, parse_float=number, parse_constant=number
        )
    except RecursionError as error:
        raise ValueError(f"deeper than {DEEPEST} levels") from error
    _check_depth(value)
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(value)
    return value


def shown(value: object) -> str:
    """A value as JSON for a message, its middle cut out where it is long."""
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 4]} ..."


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python keeps the last of two values of one name; which was meant nobody knows."""
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {shown(name)} occurs twice in an object")
            seen.add(name)
    return table


def _finite(text: str) -> float:
    value = float(text.replace("Infinity", "inf"))
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no finite number")
    return value


def _check_depth(value: object) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        inner = (v.values() if isinstance(v, dict) else v for v in level)
        level = [v for row in inner for v in row if isinstance(v, (dict, list))]
    if level:
        raise ValueError(f"deeper than {DEEPEST} levels")


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a lone surrogate, which is no character") from error
