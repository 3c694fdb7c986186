"""What a table and its texts look like before anything is learnt from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.data.tables import TableFile

SHARES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    present: int
    """cells that are not empty"""
    missing: int
    blank: int
    """cells of `present` that hold white space only"""
    distinct: int
    """different values among those present"""
    example: str
    """the first value that shows something"""


def profile_columns(table: TableFile) -> list[Column]:
    """Every column, in the file's order."""
    return [profile(name, [row[name] for row in table.rows]) for name in table.columns]


def profile(name: str, values: Sequence[str]) -> Column:
    """One column by its cells."""
    present = [value for value in values if value]
    shown = [value for value in present if value.strip()]
    return Column(
        name=name,
        present=len(present),
        missing=len(values) - len(present),
        blank=len(present) - len(shown),
        distinct=len(set(present)),
        example=shown[0] if shown else "",
    )


@dataclass(frozen=True)
class Lengths:
    """How long the texts of a group are."""

    texts: int
    mean: float
    quantiles: tuple[int, ...]
    """lengths that occur, not exceeded by `SHARES` of the texts"""
    longest: int


def summarize(lengths: Sequence[int] | np.ndarray) -> Lengths:
    """Of one text or more."""
    values = np.asarray(lengths)
    quantiles = np.quantile(values, SHARES, method="inverted_cdf").astype(int).tolist()
    return Lengths(len(values), float(values.mean()), tuple(quantiles), int(values.max()))


@dataclass(frozen=True)
class CleaningStep:
    """What one step of cleaning does, after those before it."""

    name: str
    words: int
    """between white space, in all texts, after the step"""
    changed: int
    """texts that it changes"""


def clean_by_steps(
    texts: Sequence[str], functions: Sequence[tuple[str, Callable[[str], str]]]
) -> tuple[list[CleaningStep], list[str]]:
    """The effect of each step in turn, and the texts after the last; the first row is the texts
    as they are."""
    now = list(texts)
    steps = [CleaningStep("(as in the file)", count_words(now), 0)]
    for name, function in functions:
        before, now = now, [function(text) for text in now]
        changed = sum(a != b for a, b in zip(before, now))
        steps.append(CleaningStep(name, count_words(now), changed))
    return steps, now


def count_words(texts: Sequence[str]) -> int:
    """What stands between white space, in all texts together."""
    return sum(len(text.split()) for text in texts)
