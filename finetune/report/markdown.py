"""Tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines)


def cell(value: object) -> str:
    """A value in one line that does not break the table."""
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def confusion_table(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
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
    """A list."""
    return "\n".join(f"- {line}" for line in lines)
