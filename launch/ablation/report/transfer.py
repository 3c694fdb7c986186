"""Whether a ranking holds at another scale: what a table of small runs says of large ones.

Of two tables of one ablation the rows are compared that both have, by their medians. *Decision
accuracy* (Magnusson et al., 2025, DataDecide, https://arxiv.org/abs/2504.11393) is the share of
pairs of rows which the smaller scale puts in the order of the larger one; a pair that is equal at
either scale is half right. The rank correlation is Spearman's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from configs.checks import require
from configs.errors import InputError
from configs.system.json_files import read_json
from configs.system.safe_text import visible
from launch.ablation.report.terminal import aligned

REMAKE = "make it again with ablate.py --table"
FEWEST = 2
"""rows that make an order"""
HEADER = ("metric", "from", "to", "rows", "right pairs", "accuracy", "rank corr.", "best row")


@dataclass(frozen=True)
class Ranking:
    """Medians of the rows of a finished table in one metric."""

    scale: str
    label: str
    higher_is_better: bool
    medians: dict[str, float]

    def best(self, rows: list[str]) -> str:
        """The first of the rows in the order of merit."""
        return (max if self.higher_is_better else min)(rows, key=self.medians.__getitem__)


@dataclass(frozen=True)
class Agreement:
    """How far two scales put the same rows into one order."""

    rows: list[str]
    pairs: int
    right: float
    """pairs in the same order; half of one for each that is equal at either scale"""
    correlation: float | None
    """Spearman's; None where all rows of a scale are equal"""
    same_best: bool

    @classmethod
    def of(cls, small: Ranking, large: Ranking) -> Agreement:
        """Of the rows that both have, at least `FEWEST`."""
        from scipy.stats import spearmanr

        rows = [name for name in small.medians if name in large.medians]
        ours, theirs = ([ranking.medians[name] for name in rows] for ranking in (small, large))
        signs = [
            np.sign(ours[a] - ours[b]) * np.sign(theirs[a] - theirs[b])
            for a, b in combinations(range(len(rows)), 2)
        ]
        varies = len(set(ours)) > 1 and len(set(theirs)) > 1
        return cls(
            rows,
            len(signs),
            float(sum((sign + 1) / 2 for sign in signs)),
            float(spearmanr(ours, theirs).statistic) if varies else None,
            small.best(rows) == large.best(rows),
        )


def transfer(folder: Path, scales: list[str]) -> str:
    """A line for each metric and pair of neighbouring scales, the smaller first.

    Args:
        folder: of the ablation, with a finished table in `<scale>/table.json` for each scale.
    Raises:
        InputError: fewer than two scales, no table, or no metric whose rows two of them share.
    """
    require(len(scales) >= 2, f"--transfer {scales[0]}: name two scales, the smaller first")
    tables = {scale: read_rankings(folder / scale / "table.json", scale) for scale in scales}
    lines = [
        line(metric, tables[small][metric], tables[large][metric])
        for small, large in pairwise(scales)
        for metric in tables[small]
        if metric in tables[large]
        and len(tables[small][metric].medians.keys() & tables[large][metric].medians) >= FEWEST
    ]
    require(
        bool(lines),
        f"{folder}: the tables of {', '.join(scales)} share no metric of {FEWEST} rows: rows must "
        "have the same names at all scales, and be off the plateau",
    )
    return aligned([HEADER, *lines]) + "\n"


def read_rankings(path: Path, scale: str) -> dict[str, Ranking]:
    """Each result of a table by its name; without rows whose figure gets no verdict.

    The baseline, which none can have, stays, unless all others are without for its own sake.
    """
    require(path.is_file(), f"{path}: no table there: run the ablation with --scale {scale} first")
    table = read_json(path, REMAKE)
    try:
        return {
            metric["name"]: ranking(metric, table["rows"], scale)
            for metric in table["metrics"]
            if metric["is_result"]
        }
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no table of an ablation: {REMAKE}") from error


def ranking(metric: dict[str, Any], rows: list[dict[str, Any]], scale: str) -> Ranking:
    """Of those rows of a table that have a figure, and no reason against its verdict."""
    cells = {row["name"]: row["cells"].get(metric["name"]) for row in rows}
    medians = {
        name: float(cell["summary"]["median"])
        for name, cell in cells.items()
        if cell and not cell["refused"]
    }
    return Ranking(scale, metric["label"], metric["higher_is_better"], medians)


def line(metric: str, small: Ranking, large: Ranking) -> tuple[str, ...]:
    """The words of one metric and two scales."""
    found = Agreement.of(small, large)
    best = visible(large.best(found.rows))
    held = best if found.same_best else f"{visible(small.best(found.rows))} → {best}"
    return (
        visible(small.label or metric),
        small.scale,
        large.scale,
        str(len(found.rows)),
        f"{found.right:g}/{found.pairs}",
        f"{found.right / found.pairs:.0%}",
        "–" if found.correlation is None else f"{found.correlation:+.2f}".replace("-", "−"),
        held,
    )
