"""The table as aligned text of at most 100 columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from configs.ablation_metrics import Metric
from configs.system.safe_text import visible
from launch.ablation.report import phrasing
from launch.ablation.report.result_table import Table, TableCell, TableRow

WIDTH = 100
FEWEST = 12
"""columns that a row's name gets, however wide its figures are"""
HEADER = ("", "median (quartiles)", "n", "difference [95 %]", "p", "Holm", "verdict", "reported")
SHORTER = {"too few seeds to tell": "too few seeds"}
"""verdicts, whose sentences stand below"""


def render(table: Table) -> str:
    """A block for each metric, a line for each row; what must be known of runs below."""
    terms = filter(None, [f"scale {table.scale}", table.budget, "* baseline"])
    head = visible(f"{table.title} ({'; '.join(terms)})")
    blocks = [block(table, metric) for metric in table.metrics]
    marks = "\n".join(f"† {visible(mark)}" for mark in table.marks)
    return "\n\n".join(filter(None, [head, *blocks, visible(table.on_plateau), marks])) + "\n"


def block(table: Table, metric: Metric) -> str:
    """One metric of all rows."""
    lines = [list(HEADER), *(line(table, row, metric) for row in table.rows)]
    if not any(metric.name in row.reference for row in table.rows):
        lines = [line[:-1] for line in lines]
    figures = sum(2 + max(map(columns, column)) for column in list(zip(*lines))[1:])
    names = [clipped(line[0], max(FEWEST, WIDTH - figures)) for line in lines]
    title = visible(f"{metric.label}, {phrasing.direction(metric)}")
    return f"{title}\n" + aligned([[name, *line[1:]] for name, line in zip(names, lines)])


def line(table: Table, row: TableRow, metric: Metric) -> list[str]:
    """One row's words for a metric."""
    name = f"{'*' if row.is_baseline else '·'} {visible(row.label)}"
    cell = row.cells.get(metric.name)
    if cell is None:
        return [name, "–", "", "", "", "", "", phrasing.reference(table, row, metric.name)]
    spread = phrasing.quartiles(cell.summary, metric)
    middle = phrasing.number(cell.summary.median, metric) + (f" ({spread})" if spread else "")
    reported = phrasing.reference(table, row, metric.name)
    return [name, middle, phrasing.count(cell), *judged(cell, metric), reported]


def judged(cell: TableCell, metric: Metric) -> list[str]:
    """The difference to the baseline, its p before and after the correction, and the verdict."""
    difference = cell.difference
    if difference is None:
        return ["", "", "", "not compared" if cell.refused else ""]
    p_values = map(phrasing.p_value, (difference.p_value, difference.p_holm))
    verdict = SHORTER.get(difference.verdict, difference.verdict)
    return [phrasing.change(difference, metric), *p_values, verdict]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart; characters of Korean and the like are two columns wide."""
    widths = [max(map(columns, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            text + " " * (width - columns(text)) for text, width in zip(line, widths)
        ).rstrip()
        for line in lines
    )


def clipped(text: str, most: int) -> str:
    """The beginning of a text that is wider than so many columns."""
    if columns(text) <= most:
        return text
    while columns(text) >= most:
        text = text[:-1]
    return f"{text.rstrip()}…"


def columns(text: str) -> int:
    """How wide a terminal shows it."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
