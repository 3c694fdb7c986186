"""Answers for new text, in blocks, so that input of any length streams through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from configs.errors import InputError
from configs.finetune_schema import TaskConfig
from finetune.data.preprocess import Preprocessor
from finetune.data.tables import read_table
from finetune.example import SpanExample, TagExample, TextExample
from finetune.finetuned import Finetuned


@dataclass(frozen=True)
class Row:
    """One thing to answer."""

    where: str
    """for messages: file and row"""
    text: str
    pair: str | None = None


def read_lines(stream: TextIO, name: str) -> Iterator[Row]:
    """One text a line, as they come; an empty one is an `InputError`."""
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            raise InputError(f"{name}, line {number}: empty text: remove the line")
        yield Row(f"{name}, line {number}", line.rstrip("\r\n"))


def read_rows(path: Path, model: Finetuned, column: str | None) -> Iterator[Row]:
    """The texts of a table: of `column`, or else of the column that the task was trained on.

    Raises:
        InputError: no such column, or an empty text.
    """
    text, pair = columns_of(model.card.task)
    text = column or text
    table = read_table(path, None)
    names = [text] if pair is None else [text, pair]
    for name in names:
        if name not in table.columns:
            raise InputError(
                f"{path}: no column '{name}': choose one of {', '.join(table.columns)} by "
                "--text-column"
            )
    for number, row in zip(table.numbers, table.rows):
        where = f"{path}, row {number}"
        for name in names:
            if not row[name].strip():
                raise InputError(f"{where}: empty text in column '{name}': fill or remove the row")
        yield Row(where, row[text], row[pair] if pair else None)


def columns_of(task: TaskConfig) -> tuple[str, str | None]:
    """The columns of a table to predict from: of the text, and of the second one of a pair."""
    return ("question", "context") if task.kind == "span" else (task.text, task.text_pair)


def predict(model: Finetuned, rows: Iterable[Row], block: int) -> Iterator[dict[str, object]]:
    """A line of output for every row, `block` rows at a time.

    Raises:
        InputError: the model's kind of task cannot be asked by text alone.
    """
    make = example_maker(model)
    rows = iter(rows)
    number = 0
    while chunk := list(islice(rows, block)):
        examples = [make(str(number + place), row) for place, row in enumerate(chunk, start=1)]
        number += len(chunk)
        answers = model.answers(examples, block)
        for row, line in zip(chunk, model.task.rows(examples, answers)):
            known = {name: value for name, value in line.items() if not name.endswith("label")}
            yield {**known, "text": row.text}


def example_maker(model: Finetuned):
    """(id, row) to the example of the model's kind of task."""
    task, kind = model.card.task, model.card.task.kind
    needs_pair = kind == "span" or task.text_pair is not None
    clean = Preprocessor(task.preprocess)

    def make(number: str, row: Row) -> Any:
        if needs_pair and row.pair is None:
            raise InputError(
                f"{row.where}: this model reads two texts at once: give a .csv or .jsonl with the "
                f"columns {' and '.join(columns_of(task))}"
            )
        if kind == "tagging":
            words = tuple(row.text if task.joined_characters else row.text.split())
            return TagExample(row.where, number, words, (0,) * len(words))
        if kind == "span":
            return SpanExample(row.where, number, row.text, row.pair or "", ())
        pair = None if row.pair is None else clean(row.pair)
        return TextExample(row.where, number, clean(row.text), pair, None, row.text)

    if kind == "choice":
        raise InputError("a multiple-choice model is asked by launch/finetune.py on a test file")
    return make


def first_and_rest(lines: Iterator[dict]) -> tuple[list[str], Iterator[dict]]:
    """(column names, all lines); no line at all is an `InputError`."""
    first = next(lines, None)
    if first is None:
        raise InputError("--input holds no text: give at least one line")
    return list(first), chain([first], lines)
