"""The labels of a task: what of a cell is one, their order, and which of them are there."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.tables import TableFile

NONE = ("", "-", "nan", "NaN")
"""what stands for no label, unless the configuration names it as one: an empty cell; SNLI's mark of
texts whose annotators did not agree; what pandas writes for an empty cell"""
WITHHELD = (*NONE, "-1", "-1.0")
"""what stands in every row of a test file whose labels are withheld; -1 is that of GLUE's copies on
the Hugging Face hub"""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)


def without_withheld(table: TableFile, config: TaskConfig, known: Collection[str]) -> TableFile:
    """A table to be scored, without its column of labels where every row says that it has none.

    Args:
        known: the labels of train, of which -1 may be one.
    """
    held = {row[config.label].strip() for row in table.rows}
    marks = {*WITHHELD, *config.no_label} - {*known, *(config.labels or ()), *config.merge}
    if len(held) != 1 or not held <= marks:
        return table
    return replace(table, columns=[name for name in table.columns if name != config.label])


def clean_labels(table: TableFile, config: TaskConfig, notes: list[str]) -> TableFile:
    """The table without spaces around its labels and without the rows that have none.

    Both are told in `notes`. Rows without a label may be many only where `task.no_label` names it.

    Raises:
        InputError: more rows without a label than `task.most_bad_rows`, or no other ones.
    """
    labels = [row[config.label].strip() for row in table.rows]
    rows = [row | {config.label: label} for row, label in zip(table.rows, labels)]
    padded = sum(row[config.label] != label for row, label in zip(table.rows, labels))
    name = table.path.name
    if padded:
        notes.append(f"{name}: {padded:,} labels had spaces around them; they were cut")
    wanted = {*(config.labels or ()), *config.merge}
    implied = set(NONE) - wanted
    kept = [n for n, label in enumerate(labels) if label not in implied.union(config.no_label)]
    if len(kept) == len(labels):
        return replace(table, rows=rows)
    guessed = [n for n, label in enumerate(labels) if label in implied.difference(config.no_label)]
    if len(guessed) > config.most_bad_rows * len(labels) or not kept:
        if not guessed:
            raise InputError(
                f"{table.path}: no row has a label but those of task.no_label: check task.label"
            )
        first = guessed[0]
        shown = f" ('{labels[first]}')" if labels[first] else ""
        raise InputError(
            f"{table.path}, row {table.numbers[first]}: no label{shown} in column "
            f"'{config.label}', and so in {len(guessed):,} of {len(labels):,} rows, more than "
            f"task.most_bad_rows={config.most_bad_rows:g}: fill or remove them; or name it in "
            "task.labels if it is a class, in task.no_label if such rows are to be left out"
        )
    left_out = sorted(set(labels) - {labels[n] for n in kept})
    notes.append(
        f"{name}: {len(labels) - len(kept):,} of {len(labels):,} rows have no label "
        f"({_quoted(left_out)}) and are left out"
    )
    return replace(table, rows=rows).chosen(kept)


def in_order(labels: Iterable[str]) -> list[str]:
    """Sorted: by value where all are numbers, so that 2 comes before 10."""
    different = sorted(set(labels))
    are_numbers = all(map(NUMBER.fullmatch, different))
    return sorted(different, key=float) if are_numbers else different


def similar_notes(labels: Sequence[str]) -> Iterator[str]:
    """Labels that are probably meant as one: `Positive` and `positive`, `1` and `1.0`."""
    alike: dict[str | float, list[str]] = defaultdict(list)
    for label in labels:
        seen = "".join(c for c in label if unicodedata.category(c) != "Cf")
        plain = " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
        alike[float(plain) if NUMBER.fullmatch(plain) else plain].append(label)
    for group in alike.values():
        if len(group) > 1:
            yield (
                f"the labels {_quoted(group)} differ in form only and are classes of their own: if "
                "they are meant as one, merge them by task.merge"
            )


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels)


def target_notes(
    labels: Sequence[str], splits: Mapping[str, Iterable[float | None]]
) -> Iterator[str]:
    """What cannot be learnt, or not be measured.

    Args:
        labels: none for numbers.
        splits: by name, the places of its examples' labels, or their numbers; None where one is
            not known.
    """
    for name, targets in splits.items():
        held = set(targets) - {None}
        if not labels and len(held) == 1:
            yield f"{name}: all numbers are equal: correlations are undefined, and shown as 0"
        absent = [label for place, label in enumerate(labels) if place not in held]
        if held and absent:
            consequence = (
                f"macro_f1 averages over {len(held)} of {len(labels)} classes (and any other that "
                "is predicted)"
            )
            if name == "train":
                consequence = "it cannot be learnt"
            yield f"{name}: no example has the label {', '.join(absent)}: {consequence}"
