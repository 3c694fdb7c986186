"""Tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from configs.system.safe_text import Markup, markdown


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    rule = map(Markup, ["---", *["---:"] * (len(header) - 1)])
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(value: object) -> str:
    """A value in one line that does not break the table; what others wrote is no markup."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Markup):
        return value
    return markdown(" ".join(str(value).split()), in_table=True)


def confusion_table(matrix: Iterable[Iterable[int]], labels: Sequence[str]) -> str:
    """Rows: what the examples are; columns: what they were taken for."""
    rows = [[label, *map(int, counts)] for label, counts in zip(labels, matrix)]
    return table(["is ↓, taken for →", *labels], rows)


def percent(value: float) -> str:
    """0.8641 as 86.4; a dash for NaN, what is not defined."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def short(text: str, most: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def bullets(lines: Iterable[str]) -> str:
    """A list; of a line that is no `Markup`, nothing is read as such."""
    return "\n".join(f"- {markdown(line)}" for line in lines)
