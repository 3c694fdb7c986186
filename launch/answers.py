"""New texts and their answers: what is read, and CSV on a terminal, into a pipe or into a file."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO, TypeAlias

from configs.errors import InputError
from configs.system.files import disk_explained, written_file
from configs.system.notes import PROGRESS
from configs.system.safe_text import visible
from finetune.data.tables import suffix_of
from finetune.model.model_folder import FinetunedModel
from finetune.model.prediction import NewText, read_line_file, read_lines, read_rows
from pretrain.text.encoding import Encoding

logger = logging.getLogger(__name__)

Answer: TypeAlias = Mapping[str, object]
"""column -> cell"""
Change: TypeAlias = Callable[[object], object]
"""of a cell before it is written"""
STANDARD_INPUT = "-"
LINE_FILES = ("", ".txt")
"""endings of files without columns"""


def read_texts(
    source: str, model: FinetunedModel, column: str | None, encoding: Encoding
) -> Iterator[NewText]:
    """The rows or lines of `source`, a file or `STANDARD_INPUT`, in order.

    Args:
        column: of a table's texts; None: the task's own.
    Raises:
        InputError: there is no such file.
    """
    path = Path(source)
    if source == STANDARD_INPUT:
        if sys.stdin.isatty():
            logger.log(PROGRESS, "one text a line, please; Ctrl-D ends")
        decoder = encoding.decoder("standard input", "line", encoding.repairs)
        return read_lines(sys.stdin.buffer, decoder)
    if not path.is_file():
        raise InputError(f"--input {path}: no such file: check the path, or give - to type")
    if suffix_of(path) in LINE_FILES:
        return read_line_file(path, encoding)
    return read_rows(path, model, column, encoding)


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
