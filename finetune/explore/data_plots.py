"""A task's data as pictures for a paper's appendix: one colour, labels at the marks, no frames.

Every `plot_...` returns whether the installed fonts have all the characters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.explore.task_data import Column
from finetune.explore.terms import Term
from finetune.report.markdown_tables import short
from pretrain.run.figures import (
    BLUE,
    GREY,
    ORANGE,
    date_axis,
    drawable,
    new_figure,
    plain_frame,
    save,
)

if TYPE_CHECKING:
    from pretrain.run.figures import Axes

PALE, FAINT, INK = "#93b4f5", "#d1d5db", "#1f2937"
SHADES = (BLUE, PALE, FAINT)
NORMAL, SMALL, TINY = 9, 8, 7
COLUMN, PAGE = 4.4, 7.2
"""inches of width"""
DPI = 240
NAME = 30
"""longest name of a row in characters"""
MOST_BARS = 100
PANELS = 3
"""side by side"""
FAR = 2
"""times the longest texts: a limit that would squeeze their distribution is not drawn"""
STEPS = 40
"""of a distribution's outline"""
MOST_ROWS = 60
MOST_PANELS = 30
"""of thousands of labels the first ones are drawn: the report's tables have all"""


def plot_columns(columns: Sequence[Column], path: Path) -> bool:
    """What each column has, and in the other colour what it lacks."""
    columns, left_out = columns[:MOST_ROWS], _remark(len(columns), MOST_ROWS)
    figure = new_figure(COLUMN, 0.7 + 0.24 * len(columns))
    axes = figure.subplots()
    rows = columns[0].present + columns[0].missing
    present = 100 * np.array([column.present for column in columns]) / rows
    axes.barh(range(len(columns)), present, color=PALE, height=0.62)
    axes.barh(range(len(columns)), 100 - present, left=present, color=ORANGE, height=0.62)
    for place, column in enumerate(columns):
        missing = f", {column.missing:,} missing" if column.missing else ""
        note(axes, 101.5, place, f"{column.present:,}{missing}")
    name_rows(axes, [column.name for column in columns])
    axes.set(xlim=(0, 100), xlabel=f"non-null values (% of {rows:,} rows){left_out}")
    tidy(axes)
    return save(figure, path, DPI)


def plot_balance(panels: Mapping[str, Mapping[str, Mapping[str, int]]], path: Path) -> bool:
    """Each label's share of each split.

    Args:
        panels: title to label to split to count.
    """
    sizes = [min(len(panel), MOST_ROWS) for panel in panels.values()]
    splits = list(next(iter(next(iter(panels.values())).values())))
    row = 0.16 + 0.13 * len(splits)
    figure = new_figure(COLUMN, 0.8 + row * sum(sizes) + 0.35 * (len(panels) - 1))
    grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=sizes)[:, 0]
    for axes, (title, panel) in zip(grid, panels.items()):
        draw_balance(axes, panel, splits)
        shown = f"{title}{_remark(len(panel), MOST_ROWS)}".removeprefix(", ")
        axes.set_title(shown, fontsize=NORMAL, loc="left", color=INK)
        tidy(axes)
    for axes in grid[:-1]:
        axes.tick_params(axis="x", length=0)
        axes.spines["bottom"].set_visible(False)
    grid[-1].set_xlabel("share of the split (%)")
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.2}
    size = {"fontsize": SMALL, "handlelength": 1.0, "columnspacing": 1.2}
    grid[0].legend(frameon=False, ncols=len(splits), labelcolor=INK, **place, **size)
    return save(figure, path, DPI)


def draw_balance(axes: Axes, panel: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> None:
    """A group of bars a label, a bar a split; shares are of all labels, those left out too."""
    height, names = 0.8 / len(splits), list(panel)[:MOST_ROWS]
    for number, split in enumerate(splits):
        total = sum(label[split] for label in panel.values())
        counts = np.array([panel[name][split] for name in names])
        shares = 100 * counts / max(total, 1)
        places = np.arange(len(names)) + (number - (len(splits) - 1) / 2) * height
        shade, name = SHADES[number % len(SHADES)], drawable(split)
        axes.barh(places, shares, height=0.9 * height, color=shade, label=name)
        for place, share, count in zip(places, shares, counts):
            note(axes, share, place, f" {share:.1f} % ({count:,})", size=TINY)
    axes.margins(x=0.4)
    name_rows(axes, names)


def plot_lengths(panels: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> bool:
    """Distributions by label, a panel for each unit (words, tokens)."""
    rows = len(next(iter(panels.values())))
    left_out = _remark(rows, MOST_ROWS)
    figure = new_figure(PAGE, 0.7 + 0.45 * min(rows, MOST_ROWS))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (unit, lengths) in zip(grid, panels.items()):
        draw_distributions(axes, dict(islice(lengths.items(), MOST_ROWS)))
        axes.set_xlabel(f"{unit}{left_out}")
        tidy(axes)
    return save(figure, path, DPI)


def plot_tokens(lengths: Mapping[str, np.ndarray], max_length: int, path: Path) -> bool:
    """Tokens of an example by tokenizer, and the share that the model must cut."""
    figure = new_figure(COLUMN, 0.9 + 0.5 * len(lengths))
    axes = figure.subplots()
    draw_distributions(axes, lengths)
    right = axes.get_xlim()[1]
    if max_length < FAR * right:
        right = max(right, 1.08 * max_length)
        axes.axvline(max_length, color=ORANGE, lw=1, ls="--")
        name = f"max_length {max_length}"
        axes.text(max_length, -0.65, name, fontsize=SMALL, color=INK, ha="center", va="bottom")
    axes.set_xlim(0, right)
    for place, tokens in enumerate(lengths.values()):
        share = 100 * (tokens > max_length).mean()
        note(axes, 1.02 * right, place, f"{share:.2f} %\nabove {max_length}", size=TINY)
    axes.set_xlabel("tokens, special ones included")
    tidy(axes)
    return save(figure, path, DPI)


def draw_distributions(axes: Axes, groups: Mapping[str, np.ndarray]) -> None:
    """A row a group: outline, line from the 5 % to the 95 % quantile, and the median's figure."""
    top = max(np.quantile(lengths, 0.998) for lengths in groups.values())
    bins = np.arange(0, top + 2, max(1, round(top / STEPS)))
    for place, lengths in enumerate(groups.values()):
        shares, _ = np.histogram(lengths, bins)
        low, median, high = np.quantile(lengths, (0.05, 0.5, 0.95), method="inverted_cdf")
        base = place + 0.25
        outline = base - 0.62 * shares / max(shares.max(), 1)
        axes.axhline(base, color=FAINT, lw=0.6, zorder=0)
        axes.stairs(outline, bins, baseline=base, fill=True, color=PALE)
        axes.plot([low, high], [base, base], color=BLUE, lw=1.5, solid_capstyle="butt")
        axes.plot(median, base, "o", color=BLUE, ms=4)
        figure = f"{median:.0f}"
        axes.text(median, base + 0.09, figure, fontsize=TINY, color=INK, ha="center", va="top")
    name_rows(axes, list(groups))
    axes.set_xlim(0, bins[-1])


def plot_terms(terms: Mapping[str, Sequence[Term]], axis: str, path: Path) -> bool:
    """Terms of each label by their scores, a panel each, with their numbers of occurrences.

    Args:
        axis: what the scores are.
    """
    axis, terms = (
        f"{axis}{_remark(len(terms), MOST_PANELS)}",
        dict(islice(terms.items(), MOST_PANELS)),
    )
    columns = min(PANELS, len(terms))
    lines = math.ceil(len(terms) / columns)
    most = max(map(len, terms.values()))
    figure = new_figure(PAGE, lines * (0.7 + 0.19 * most))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for axes, (label, chosen) in zip(grid, terms.items()):
        axes.barh(range(len(chosen)), [term.score for term in chosen], color=PALE, height=0.66)
        for place, term in enumerate(chosen):
            note(axes, term.score, place, f" {term.count:,}", size=TINY)
        name_rows(axes, [term.name for term in chosen])
        axes.set_title(short(label, NAME), fontsize=NORMAL, loc="left", color=INK)
        axes.margins(x=0.25)
        tidy(axes)
        axes.tick_params(axis="x", labelbottom=True)
        axes.xaxis.set_major_formatter("{x:,g}")
    for axes in grid[len(terms) :]:
        axes.set_visible(False)
    figure.supxlabel(axis, fontsize=SMALL, color=INK)
    return save(figure, path, DPI)


def plot_days(counts: Mapping[date, int], path: Path) -> bool:
    """Examples by day, or by as many days as make `MOST_BARS` bars or fewer."""
    starts, heights, width = by_period(counts)
    figure = new_figure(COLUMN, 1.9)
    axes = figure.subplots()
    axes.bar(np.array(starts), heights, width=0.8 * width, color=PALE)
    peak = int(heights.argmax())
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": INK}
    top = (starts[peak], heights[peak])
    axes.annotate(f"{heights[peak]:,}", top, (0, 2), fontsize=TINY, **style)
    axes.set_ylabel("examples a day" if width == 1 else f"examples in {width} days")
    axes.set_xlabel(f"{min(counts)} to {max(counts)}")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    date_axis(axes.xaxis)
    tidy(axes)
    return save(figure, path, DPI)


def by_period(counts: Mapping[date, int]) -> tuple[list[date], np.ndarray, int]:
    """(first days, counts, days of a period), for equal periods from the first day to the last."""
    first = min(counts)
    span = (max(counts) - first).days + 1
    width = next(days for days in (1, 7, 30, 365, span) if span <= MOST_BARS * days)
    heights = np.zeros(math.ceil(span / width), int)
    for day, count in counts.items():
        heights[(day - first).days // width] += count
    return [first + timedelta(width * number) for number in range(len(heights))], heights, width


def _remark(rows: int, most: int) -> str:
    """What a picture says of rows that it does not show."""
    return f", the first {most} of {rows:,}" if rows > most else ""


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names on the left, the first on top, no ticks."""
    axes.set_yticks(range(len(names)), [short(name, NAME) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def note(axes: Axes, x: float, y: float, text: str, size: int = SMALL) -> None:
    """A few words to the right of a mark."""
    axes.text(x, y, text, fontsize=size, color=INK, ha="left", va="center")


def tidy(axes: Axes) -> None:
    """Small figures in dark grey; no grid, as figures stand at the marks."""
    axes.tick_params(labelsize=SMALL, colors=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(size=SMALL, color=INK)
    plain_frame(axes, grid=False)
    axes.spines[["bottom", "left"]].set_color(GREY)
