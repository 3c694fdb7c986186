"""Labelled texts and pairs out of tables: cleaned, checked, split."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from configs.errors import InputError
from configs.finetune_schema import TaskConfig
from finetune.data.duplicates import find_duplicates
from finetune.data.labels import (
    NUMBER,
    absent_notes,
    clean_labels,
    constant_notes,
    in_order,
    similar_notes,
)
from finetune.data.preprocess import Preprocessor
from finetune.data.split import heldout_mask
from finetune.data.tables import Table, encoding_of, read_table, require_columns
from finetune.example import Splits, TextExample

REAL = re.compile(rf"{NUMBER.pattern}([eE][+-]?\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def read_text_splits(config: TaskConfig) -> Splits[TextExample]:
    """The examples of a classification or regression task.

    Raises:
        InputError: a missing file or column, an unknown label, a number that is none, an empty
            text, or fewer than two classes; with file and row.
    """
    reader = TextReader(config)
    train_rows = reader.table(config.train)
    labels = reader.find_labels(train_rows)
    train = list(reader.examples(train_rows, labels))
    if config.dev:
        dev_rows = reader.table(config.dev)
        dev = list(reader.examples(dev_rows, labels))
    else:
        strata = reader.strata(train_rows)
        mask = heldout_mask([content(example) for example in train], strata, config.dev_fraction)
        dev = [example for example, is_dev in zip(train, mask) if is_dev]
        train = [example for example, is_dev in zip(train, mask) if not is_dev]
    test_rows = reader.table(config.test) if config.test else None
    test = list(reader.examples(test_rows, labels)) if test_rows else []
    long = [example for example in train if not example.is_short]
    check_splits(config, long, dev, test, labels)
    notes = [
        *reader.encoding.notes,
        *short_notes(config, train, dev, test),
        *target_notes(labels, train=long, dev=dev, test=test),
    ]
    return Splits(long, dev, test, labels, (*notes, *duplicate_notes(train, dev, test)))


class TextReader:
    """One task's columns, labels and cleaning."""

    def __init__(self, config: TaskConfig) -> None:
        self.config, self.clean = config, Preprocessor(config.preprocess)
        self.encoding = encoding_of(config)
        self.notes = self.encoding.notes

    def table(self, name: str) -> Table:
        """A file of the task, its columns checked."""
        path = Path(self.config.folder).expanduser() / name
        table = read_table(path, self.config.columns, self.encoding)
        for field in ("text", "text_pair", "label"):
            column = getattr(self.config, field)
            require_columns(table, [column] if column else [], f"task.{field}")
        return clean_labels(table, self.config, self.notes)

    def find_labels(self, train: Table) -> tuple[str, ...]:
        """The configuration's labels, or those of the training file; none for numbers."""
        if self.config.kind == "regression":
            return ()
        self._note_unmerged(train)
        if self.config.labels and not self.config.unmerged:
            return tuple(self.config.labels)
        found = in_order(self.label(row) for row in train.rows)
        self.notes.extend(similar_notes(found))
        order = self.config.labels
        if not order:
            return tuple(found)
        merged = {label: self.config.merge.get(label, label) for label in found}
        known = [label for label in found if merged[label] in order]
        return tuple(sorted(known, key=lambda label: order.index(merged[label])))

    def _note_unmerged(self, train: Table) -> None:
        held = {row[self.config.label] for row in train.rows}
        absent = [label for label in self.config.merge if label not in held]
        if absent:
            self.notes.append(f"task.merge: no training example has the label {', '.join(absent)}")

    def label(self, row: dict[str, str]) -> str:
        """A row's label, merged unless the model is to learn all."""
        value = row[self.config.label]
        return value if self.config.unmerged else self.config.merge.get(value, value)

    def strata(self, table: Table) -> list[str]:
        """What the dev split keeps the balance of: labels as they stand in the file."""
        if self.config.kind == "regression":
            return [""] * len(table.rows)
        return [row[self.config.label] for row in table.rows]

    def examples(self, table: Table, labels: tuple[str, ...]) -> Iterator[TextExample]:
        """The table's rows; `InputError` for the first that is wrong."""
        places = {label: place for place, label in enumerate(labels)}
        for number, name, row in zip(table.numbers, table.ids, table.rows):
            where = f"{table.path}, row {number}"
            raw, pair = self.text(row, self.config.text, where), None
            if self.config.text_pair:
                pair = self.clean(self.text(row, self.config.text_pair, where))
            text = self.clean(raw)
            yield TextExample(
                where=where,
                id=name,
                text=text,
                pair=pair,
                target=self.target(row, places, where),
                raw=raw,
                is_short=self.clean.is_short(text),
            )

    def text(self, row: dict[str, str], column: str, where: str) -> str:
        """A cell that must not be empty."""
        if not row[column].strip():
            raise InputError(f"{where}: empty text in column '{column}': fill or remove the row")
        return row[column]

    def target(self, row: dict[str, str], places: dict[str, int], where: str) -> int | float:
        """The label's place, or the number."""
        value = row[self.config.label]
        if self.config.kind == "regression":
            return parse_number(value, self.config.label, where)
        label = self.label(row)
        if label not in places:
            raise InputError(
                f"{where}: unknown label '{label}' in column '{self.config.label}': the labels are "
                f"{', '.join(places)} (task.labels, or else those of {self.config.train}); correct "
                "the row, or add the label, or merge it by task.merge"
            )
        return places[label]


def parse_number(value: str, column: str, where: str) -> float:
    """A number as it is written in data: 2, -0.5, 1e-3; none that a float32 cannot hold."""
    number = float(value) if REAL.fullmatch(value.strip()) else math.inf
    if abs(number) > float(np.finfo(np.float32).max):
        cure = " with a point for the comma" if DECIMAL_COMMA.fullmatch(value.strip()) else ""
        raise InputError(
            f"{where}: '{value}' in column '{column}' is no number: correct the row{cure}"
        )
    return number


def content(example: TextExample) -> str:
    """What the dev split is decided by: the text as it was."""
    return example.raw if example.pair is None else f"{example.raw}\n{example.pair}"


def check_splits(
    config: TaskConfig,
    train: list[TextExample],
    dev: list[TextExample],
    test: list[TextExample],
    labels: tuple[str, ...],
) -> None:
    """Raise `InputError` for splits that nothing can be learnt from or measured on."""
    for name, split in (("train", train), ("dev", dev)):
        if not split:
            raise InputError(
                f"{config.folder}/{config.train}: no example is left for {name}: give more rows, "
                "or lower task.preprocess.minimum_words"
            )
    if config.kind == "regression":
        return
    learnt = {example.target for example in train}
    if len(learnt) < 2:
        raise InputError(
            f"{config.folder}/{config.train}: all examples have the label "
            f"'{labels[train[0].target]}': a classifier needs two, check task.label and task.merge"
        )
    for name, split in (("dev", dev), ("test", test)):
        for example in split:
            if example.target not in learnt | {None}:
                raise InputError(
                    f"{example.where}: the label '{labels[example.target]}' is in {name} but not "
                    "in train, so it cannot be learnt: add training examples, or merge it by "
                    "task.merge"
                )


def target_notes(labels: tuple[str, ...], **splits: list[TextExample]) -> Iterator[str]:
    """What the splits cannot teach or measure."""
    targets = {name: [example.target for example in split] for name, split in splits.items()}
    return absent_notes(labels, targets) if labels else constant_notes(targets)


def short_notes(config: TaskConfig, *splits: list[TextExample]) -> Iterator[str]:
    """How many texts were too short after cleaning."""
    for name, split in zip(("train", "dev", "test"), splits):
        short = sum(example.is_short for example in split)
        if short:
            fate = "left out" if name == "train" else "kept and scored all the same"
            yield (
                f"{name}: {short:,} of {len(split):,} texts have fewer than "
                f"{config.preprocess.minimum_words} words after cleaning: {fate}"
            )
        empty = sum(not (example.is_short or example.text.strip()) for example in split)
        if empty:
            yield (
                f"{name}: {empty:,} of {len(split):,} texts hold nothing after cleaning "
                "(task.preprocess.minimum_words=1 leaves them out of training)"
            )


def duplicate_notes(
    train: list[TextExample], dev: list[TextExample], test: list[TextExample]
) -> Iterator[str]:
    """Texts of dev and test that train holds too."""
    for name, split in (("dev", dev), ("test", test)):
        if not split:
            continue
        found = find_duplicates(*([content(e) for e in part] for part in (train, split)))
        exact, near = len(found.exact), len(found.near)
        line = f"{name}: {exact} exact and {near} near duplicates of training texts"
        if found.near:
            place, other, similarity = max(found.near, key=lambda pair: pair[2])
            line += (
                f"; the nearest (Jaccard {similarity:.2f}): {split[place].where} and "
                f"{train[other].where}"
            )
        yield line
