"""Tables, lists and pictures as Markdown; no picture is worth the report that it stands in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.system.notes import optional
from configs.system.run_names import PLOTS
from configs.system.safe_text import Markup, markdown

NO_FONT = (
    "(The boxes in this picture are characters that no installed font has: install one, e.g. Noto "
    "Sans CJK.)"
)


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


@dataclass(frozen=True)
class Gallery:
    """The plots of a report's folder."""

    folder: Path

    def add(self, name: str, title: str, draw: Callable[..., bool], *content: object) -> str:
        """Draw `plots/<name>.png`; returns the Markdown that shows it, or says that it failed.

        Args:
            draw: takes `content` and the path; returns whether the fonts have every character.
        """
        path = self.folder / PLOTS / f"{name}.png"
        complete = None
        with optional(str(path)):
            complete = draw(*content, path)
        if complete is None:
            path.unlink(missing_ok=True)
            return f"({title}: the picture could not be drawn.)"
        picture = f"![{title}]({PLOTS}/{name}.png)"
        return picture if complete else f"{picture}\n\n{NO_FONT}"
