"""CoNLL's columns: a word, or a character, a line with its label last; blank lines between
sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from configs.errors import InputError
from finetune.data.tables import read_text

LABEL = re.compile(r"O|[BI]-.+")


@dataclass(frozen=True)
class Sentence:
    """Words and labels."""

    where: str
    words: tuple[str, ...]
    labels: tuple[str, ...]


def read_conll(path: Path) -> list[Sentence]:
    """The sentences of a file; lines that begin with `## ` or `-DOCSTART-` are comments.

    Columns are cut at tabs where a line has one, else at spaces: a word may then be a space itself,
    as in KLUE's files.

    Raises:
        InputError: a line without a word or a label, or a label that is not O, B-... or I-...
    """
    sentences = list(_sentences(path))
    if not sentences:
        raise InputError(f"{path}: no sentences: name a file with at least one")
    return sentences


def _sentences(path: Path) -> Iterator[Sentence]:
    rows: list[tuple[str, str]] = []
    first = 1
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.rstrip("\r")
        if line.startswith(("## ", "-DOCSTART-")):
            continue
        if line.strip() or "\t" in line:
            first = first if rows else number
            rows.append(_row(path, number, line))
        elif rows:
            yield _sentence(path, first, rows)
            rows = []
    if rows:
        yield _sentence(path, first, rows)


def _row(path: Path, number: int, line: str) -> tuple[str, str]:
    cells = line.split("\t") if "\t" in line else line.split()
    if len(cells) < 2:
        raise InputError(f"{path}, line {number}: '{line}' has no label: give a word and its label")
    if not cells[0]:
        raise InputError(f"{path}, line {number}: '{line}' has no word: give a word and its label")
    if not LABEL.fullmatch(cells[-1]):
        raise InputError(
            f"{path}, line {number}: the label '{cells[-1]}' is neither O nor B-... nor I-...: "
            "convert the file to BIO"
        )
    return cells[0], cells[-1]


def _sentence(path: Path, line: int, rows: list[tuple[str, str]]) -> Sentence:
    words, labels = zip(*rows)
    return Sentence(f"{path}, line {line}", words, labels)
