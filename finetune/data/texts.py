"""Labelled texts and pairs out of tables: cleaned, checked, split."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data import tables
from finetune.data.example import (
    Splits,
    TextExample,
    are_labelled,
    find_duplicates,
    heldout_mask,
    with_dev,
)
from finetune.data.labels import (
    NUMBER,
    clean_labels,
    in_order,
    similar_notes,
    target_notes,
    without_withheld,
)
from finetune.data.preprocess import Preprocessor
from finetune.data.submission import check_submissions
from finetune.data.tables import TableFile, counted, refuse_many

REAL = re.compile(rf"{NUMBER.pattern}([eE][+-]?\d+)?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def read_text_splits(config: TaskConfig) -> Splits[TextExample]:
    """The examples of a classification or regression task.

    Raises:
        InputError: a missing file or column, an unknown label, a number that is none, fewer than
            two classes, or too many rows that cannot be read; with file and row.
    """
    reader = TextReader(config)
    files = reader.tables()
    labels = reader.find_labels(files["train"])
    parts = {name: list(reader.examples(table, labels)) for name, table in files.items()}
    if not config.dev:
        # Labels as they stand in the file keep their balance.
        rows, is_number = files["train"].rows, config.kind == "regression"
        strata = ["" if is_number else row[config.label] for row in rows]
        texts = list(map(content, parts["train"]))
        parts = with_dev(parts, heldout_mask(texts, strata, config.dev_fraction))
    short = tuple(short_notes(config, parts))
    parts["train"] = [example for example in parts["train"] if not example.is_short]
    check_splits(config, parts, labels)
    splits = Splits(parts, labels)
    targets = {name: [example.target for example in part] for name, part in parts.items()}
    notes = (
        *reader.encoding.notes,
        *check_submissions(config, splits),
        *short,
        *target_notes(labels, targets),
        *duplicate_notes(parts),
    )
    return replace(splits, notes=notes)


class TextReader:
    """One task's columns, labels and cleaning."""

    def __init__(self, config: TaskConfig) -> None:
        self.config, self.clean = config, Preprocessor(config.preprocess)
        self.encoding = tables.encoding_of(config)
        self.notes = self.encoding.notes
        self.known: set[str] = set()
        """the labels of train, once it has been read"""
        self.texts = [column for column in (config.text, config.text_pair) if column]

    def tables(self) -> dict[str, TableFile]:
        """Every file of the task by the name of its part, train first."""
        files = {"train": self.config.train, **self.config.evaluated}
        return {part: self.table(file, part) for part, file in files.items()}

    def table(self, name: str, part: str) -> TableFile:
        """A file of the task, its columns checked.

        Rows that cannot be read are left out and counted; where a text is merely empty, only of
        train: what is scored, or is to be answered, keeps its size.
        """
        path, columns = Path(self.config.folder).expanduser() / name, self.config.columns
        table = tables.read_table(path, columns, self.encoding, self.texts, leaves_out=True)
        if part not in ("train", "dev") and self.config.label in table.columns:
            table = without_withheld(table, self.config, self.known)
        is_labelled = self.config.label in table.columns or part in ("train", "dev")
        fields = ["text", "text_pair"]
        if is_labelled:
            fields.append("label")
        for field in fields:
            if column := getattr(self.config, field):
                tables.require_columns(table, [column], f"task.{field}")
        if not is_labelled:
            refuse_many(path, table.left_out, 0, 0.0, "every row is to be answered: repair it")
        empty = self.empty_rows(table)
        wrong = table.left_out | empty
        refuse_many(path, wrong, table.total, self.config.most_bad_rows)
        kept = table.without(empty) if part == "train" else table
        self.notes.extend(row_notes(kept, empty, part, is_labelled))
        if not is_labelled:
            return kept
        cleaned = clean_labels(kept, self.config, self.notes)
        if part == "train":
            self.known = {row[self.config.label] for row in cleaned.rows}
        return cleaned

    def empty_rows(self, table: TableFile) -> dict[int, str]:
        """The rows without a text, by their numbers."""
        return {
            number: f"empty text in column '{column}'"
            for number, row in zip(table.numbers, table.rows)
            for column in reversed(self.texts)
            if not row[column].strip()
        }

    def find_labels(self, train: TableFile) -> tuple[str, ...]:
        """The configuration's labels, or those of the training file; none for numbers."""
        if self.config.kind == "regression":
            return ()
        absent = [label for label in self.config.merge if label not in self.known]
        if absent:
            self.notes.append(f"task.merge: no training example has the label {', '.join(absent)}")
        if self.config.labels and not self.config.unmerged:
            return tuple(self.config.labels)
        in_train = in_order(self.label(row) for row in train.rows)
        self.notes.extend(similar_notes(in_train))
        order = self.config.labels
        if not order:
            return tuple(in_train)
        # Only with task.unmerged: the labels of task.labels are merged ones, these are not.
        merged = {label: self.config.merge.get(label, label) for label in in_train}
        known = [label for label in in_train if merged[label] in order]
        return tuple(sorted(known, key=lambda label: order.index(merged[label])))

    def label(self, row: dict[str, str]) -> str:
        """A row's label, merged unless the model is to learn all."""
        value = row[self.config.label]
        return value if self.config.unmerged else self.config.merge.get(value, value)

    def examples(self, table: TableFile, labels: tuple[str, ...]) -> Iterator[TextExample]:
        """The table's rows; `InputError` for the first that is wrong."""
        places = {label: place for place, label in enumerate(labels)}
        is_labelled = self.config.label in table.columns
        for number, name, row in zip(table.numbers, table.ids, table.rows):
            where = f"{table.path}, row {number}"
            raw, second = row[self.config.text], self.config.text_pair
            text, pair = self.clean(raw), self.clean(row[second]) if second else None
            target = self.target(row, places, where) if is_labelled else None
            is_short = self.clean.is_short(text)
            yield TextExample(where, name, text, pair, target, raw, is_short)

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
        cure = " with a decimal point" if DECIMAL_COMMA.fullmatch(value.strip()) else ""
        raise InputError(
            f"{where}: '{value}' in column '{column}' is no number: correct the row{cure}"
        )
    return number


def content(example: TextExample) -> str:
    """What the dev split is decided by: the text as it was."""
    return example.raw if example.pair is None else f"{example.raw}\n{example.pair}"


def check_splits(
    config: TaskConfig, parts: Mapping[str, list[TextExample]], labels: tuple[str, ...]
) -> None:
    """Raise `InputError` for splits that nothing can be learnt from or measured on."""
    for name in ("train", "dev"):
        if not parts[name]:
            raise InputError(
                f"{config.folder}/{config.train}: no example is left for {name}: give more rows, "
                "or lower task.preprocess.minimum_words"
            )
    if config.kind == "regression":
        return
    learnt = {example.label for example in parts["train"]}
    if len(learnt) < 2:
        raise InputError(
            f"{config.folder}/{config.train}: all examples have the label "
            f"'{labels[min(learnt)]}': a classifier needs two, check task.label and task.merge"
        )
    for name, part in parts.items():
        for example in part:
            if example.is_labelled and example.label not in learnt:
                raise InputError(
                    f"{example.where}: the label '{labels[example.label]}' is in {name} but not "
                    "in train, so it cannot be learnt: add training examples, or merge it by "
                    "task.merge"
                )


def row_notes(
    table: TableFile, empty: Mapping[int, str], part: str, is_labelled: bool
) -> Iterator[str]:
    """Which rows of a file were left out, are answered only, or are scored without a text."""
    name, rows = table.path.name, f"of {table.total:,} rows are"
    if out := table.left_out:
        fate = "left out" if part == "train" else "left out, and so not scored"
        yield f"{name}: {len(out):,} {rows} {fate}: {counted(out)}"
    if not is_labelled:
        yield f"{name}: no labels, so its {table.total:,} rows are answered, not scored"
    if empty and part != "train":
        fate = "scored" if is_labelled else "answered"
        yield f"{name}: {len(empty):,} {rows} {fate} all the same: {counted(empty)}"


def short_notes(config: TaskConfig, parts: Mapping[str, list[TextExample]]) -> Iterator[str]:
    """How many texts were too short after cleaning."""
    for name, part in parts.items():
        short = sum(example.is_short for example in part)
        if short:
            fate = "left out" if name == "train" else "kept and scored all the same"
            yield (
                f"{name}: {short:,} of {len(part):,} texts have fewer than "
                f"{config.preprocess.minimum_words} words after cleaning: {fate}"
            )
        gone = [e for e in part if e.raw.strip() and not (e.is_short or e.text.strip())]
        if gone:
            yield (
                f"{name}: {len(gone):,} of {len(part):,} texts hold nothing after cleaning "
                "(task.preprocess.minimum_words=1 leaves them out of training)"
            )


def duplicate_notes(parts: Mapping[str, list[TextExample]]) -> Iterator[str]:
    """Texts of the scored parts that train holds too."""
    train = parts["train"]
    for name, part in parts.items():
        if name == "train" or not are_labelled(part):
            continue
        exact, near = find_duplicates(*([content(e) for e in side] for side in (train, part)))
        line = f"{name}: {len(exact)} exact and {len(near)} near duplicates of training texts"
        if near:
            place, other, similarity = max(near, key=lambda pair: pair[2])
            line += (
                f"; the nearest (Jaccard {similarity:.2f}): {part[place].where} and "
                f"{train[other].where}"
            )
        yield line
