"""Answers as CSV: on a terminal, into a pipe or into a file; each line as soon as it is known."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO, TypeAlias

from configs.system.files import disk_explained, written_file
from configs.system.safe_text import visible

Answer: TypeAlias = Mapping[str, object]
"""column -> cell"""
Change: TypeAlias = Callable[[object], object]
"""of a cell before it is written"""


def show_answers(names: list[str], answers: Iterable[Answer], safe: Change | None) -> None:
    """To standard output: one visible line a row on a terminal, else CSV as in a file, in UTF-8
    whatever the locale says."""
    raw, change, line_end = getattr(sys.stdout, "stream", sys.stdout), safe, "\r\n"
    if sys.stdout.isatty():
        raw, change, line_end = sys.stdout, lambda c: visible(safe(c) if safe else c), "\n"
    elif hasattr(raw, "reconfigure"):
        raw.reconfigure(encoding="utf-8")
    with disk_explained("standard output"):
        _write(raw, names, answers, change, line_end)


def write_answers(
    path: Path, names: list[str], answers: Iterable[Answer], safe: Change | None
) -> None:
    """CSV that appears as a whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        _write(file, names, answers, safe)


def _write(
    file: TextIO,
    names: list[str],
    answers: Iterable[Answer],
    change: Change | None,
    line_end: str = "\r\n",
) -> None:
    """A line of names and one for each answer, every cell changed as asked."""
    writer = csv.writer(file, lineterminator=line_end)

    def write_row(cells: Iterable[object]) -> None:
        writer.writerow(map(change, cells) if change else cells)
        file.flush()

    write_row(names)
    for answer in answers:
        write_row([answer[name] for name in names])
