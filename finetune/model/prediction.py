"""Answers for new text, in blocks, so that input of any length streams through."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import torch

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.example import SpanExample, TagExample, TextExample
from finetune.data.preprocess import Preprocessor
from finetune.data.tables import open_file, read_table, require_columns
from finetune.model.model_folder import FinetunedModel
from pretrain.text.encoding import Decoder, Encoding, lines_of

BLANK = "."
"""what the model is shown in place of a blank text; nobody sees its answer"""
SEEN = {
    "blank": "hold no text: their predictions are empty",
    "cleaned away": "hold nothing after the task's cleaning: they were answered as empty texts",
    "cut": "are longer than the model reads: they were truncated",
}


@dataclass(frozen=True)
class NewText:
    """One thing to answer."""

    where: str
    """for messages: file and row"""
    id: str
    """what the file calls it, or else the number of its row or line"""
    text: str
    pair: str | None = None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to ask a model about."""
        return not (self.text.strip() and (self.pair is None or self.pair.strip()))


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or with `auto` the GPU where there is one, as in training."""
    on_gpu = torch.cuda.is_available()
    if name == "cuda" and not on_gpu:
        raise InputError("--device cuda: PyTorch sees no GPU: give --device cpu, or leave it out")
    return torch.device("cuda" if on_gpu and name != "cpu" else "cpu")


def read_lines(stream: BinaryIO, decoder: Decoder, whole: bool = False) -> Iterator[NewText]:
    """One text a line, blank ones too, as they come.

    Args:
        whole: judge all lines together, at the end; else from the hundredth on as well.
    Raises:
        InputError: more of the lines have bad bytes than the user lets pass.
    """
    try:
        for number, line in enumerate(lines_of(decoder.open(stream)), start=1):
            (text,) = decoder.plain([line])
            if not whole:
                decoder.check_early()
            yield NewText(f"{decoder.where}, line {number}", str(number), text)
    except UnicodeError as error:
        raise InputError(f"{decoder.where}: no {decoder.codec} ({error})") from error
    decoder.finish()


def read_line_file(path: Path, encoding: Encoding) -> Iterator[NewText]:
    """The lines of a file, which is checked as a whole before the first is given."""
    with open_file(path) as stream:
        encoding.decoder(str(path)).check_told(stream)
    for own in (encoding, replace(encoding, most_bad=1.0, notes=[])):
        with open_file(path) as stream:
            lines = read_lines(stream, own.decoder(str(path), "line", own.repairs), whole=True)
            if own is encoding:
                deque(lines, maxlen=0)  # raises, or notes what was changed
            else:
                yield from lines


def read_rows(
    path: Path, model: FinetunedModel, column: str | None, encoding: Encoding
) -> Iterator[NewText]:
    """The texts of a table: of `column`, or else of the column that the task was trained on.

    Raises:
        InputError: no such column, or a table that `read_table` refuses.
    """
    text, pair = columns_of(model.card.task)
    text = column or text
    table = read_table(path, None, encoding)
    require_columns(table, [text], "--text-column")
    if pair and pair not in table.columns:
        raise InputError(
            f"{path}: no column '{pair}', which the model reads as its second text: call it so "
            f"(there are {', '.join(table.columns)})"
        )
    for number, name, row in zip(table.numbers, table.ids, table.rows):
        yield NewText(f"{path}, row {number}", name, row[text], row[pair] if pair else None)


def columns_of(task: TaskConfig) -> tuple[str, str | None]:
    """The columns of a table to predict from: of the text, and of the second one of a pair."""
    return ("question", "context") if task.kind == "span" else (task.text, task.text_pair)


Asked = TextExample | SpanExample | TagExample
"""what a new text becomes"""
Line = dict[str, object]
"""of the output, by column"""


def predict(
    model: FinetunedModel, rows: Iterable[NewText], block: int, notes: list[str]
) -> Iterator[Line]:
    """A line of output for every row, `block` rows at a time.

    A row without text cannot be labelled: its line has its id and is empty otherwise, so that
    lines of input and output stay side by side.

    Args:
        notes: gets what a reader of the output should know, after the last row.
    Raises:
        InputError: the model's kind of task cannot be asked by text alone.
    """
    make = example_maker(model)
    rows = iter(rows)
    seen: Counter[str] = Counter()
    while chunk := list(islice(rows, block)):
        examples = [make(row) for row in chunk]
        features = model.features(examples)
        answers = model.answers(examples, features, block)
        seen["cut"] += len({feature.example for feature in features if feature.cut})
        for row, example, line in zip(chunk, examples, model.task.rows(examples, answers)):
            known: Line = {n: value for n, value in line.items() if not n.endswith("label")}
            seen["rows"] += 1
            if row.is_blank:
                known = {**dict.fromkeys(known, ""), "id": row.id}
                seen["blank"] += 1
            elif isinstance(example, TextExample) and not example.text.strip():
                seen["cleaned away"] += 1
            yield {**known, "text": row.text}
    notes += [f"{seen[k]:,} of {seen['rows']:,} rows {text}" for k, text in SEEN.items() if seen[k]]


def example_maker(model: FinetunedModel) -> Callable[[NewText], Asked]:
    """What makes a new text the example of a task; a blank one's text is a full stop."""
    task, kind = model.card.task, model.card.task.kind
    needs_pair = kind == "span" or task.text_pair is not None
    clean = Preprocessor(task.preprocess)

    def make(row: NewText) -> Asked:
        if needs_pair and row.pair is None:
            raise InputError(
                f"{row.where}: this model reads two texts at once: give a .csv or .jsonl with the "
                f"columns {' and '.join(filter(None, columns_of(task)))}"
            )
        if row.is_blank:
            row = replace(row, text=BLANK, pair=row.pair and BLANK)
        if kind == "tagging":
            words = tuple(row.text if task.joined_characters else row.text.split())
            return TagExample(row.where, row.id, words, (0,) * len(words))
        if kind == "span":
            return SpanExample(row.where, row.id, row.text, row.pair or "", ())
        pair = None if row.pair is None else clean(row.pair)
        return TextExample(row.where, row.id, clean(row.text), pair, None, row.text)

    if kind == "choice":
        raise InputError("a multiple-choice model is asked by launch/finetune.py on a test file")
    return make


def first_and_rest(lines: Iterator[Line]) -> tuple[list[str], Iterator[Line]]:
    """(column names, all lines); no line at all is an `InputError`."""
    first = next(lines, None)
    if first is None:
        raise InputError("--input holds no text: give at least one line")
    return list(first), chain([first], lines)
