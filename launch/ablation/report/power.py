"""What so many seeds can tell, before they are spent."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from configs.ablation_metrics import METRICS, Metric
from configs.checks import require
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from launch.ablation.grid import Grid
from launch.ablation.measure import collect
from launch.ablation.report.phrasing import number
from launch.ablation.report.result_table import build, paired
from launch.ablation.report.verdicts import ALPHA, FEWEST_PAIRS

POWER = 0.8
USUAL_SEEDS = (3, 5, 8, 10)
MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Spread:
    """How far paired differences of earlier runs lie apart from seed to seed, in one metric."""

    metric: Metric
    sd: float
    """standard deviation, pooled over rows, in the units shown"""
    freedom: int
    """differences behind it, less one for each row"""


def least_effect(seeds: int, verdicts: int) -> float:
    """The difference, in standard deviations of the paired difference, that the t test finds with a
    probability of 80 % where Holm's correction is hardest: nothing else in the table is different.

    Args:
        seeds: pairs of runs, 3 or more.
        verdicts: of the table.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    limit = t.isf(ALPHA / verdicts / 2, seeds - 1)
    root = math.sqrt(seeds)

    def surplus(effect: float) -> float:
        return float(nct.sf(limit, seeds - 1, effect * root)) - POWER

    # The median of the noncentral t lies near its noncentrality, so these bounds hold 80 %.
    return float(brentq(surplus, limit / 2 / root, 4 * limit / root))


def seeds_needed(effect: float, verdicts: int) -> int | None:
    """The fewest seeds whose `least_effect` is at most `effect`; None: more than 10,000."""
    low, high = FEWEST_PAIRS - 1, FEWEST_PAIRS
    while least_effect(high, verdicts) > effect:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        found = least_effect(middle, verdicts) <= effect
        low, high = (low, middle) if found else (middle, high)
    return high


def verdicts_of(grid: Grid) -> int:
    """How many verdicts the grid's table has at most: rows that pretrain times what is judged."""
    judged = sum(METRICS[name].is_result for name in grid.config.metrics)
    for wish, task in zip(grid.config.tasks, grid.tasks[grid.baseline]):
        judged += (len(wish.metrics) or 1) * _labellings(task)
    return max(1, (len(grid.rows) - 1) * judged)


def _labellings(task: FinetuneConfig) -> int:
    """Two where labels are merged for a task: it is scored with all of them as well."""
    return 2 if getattr(task.task, "unmerged", False) else 1


def spreads(grid: Grid) -> list[Spread]:
    """Those that the grid's completed runs tell, by metric; empty where there are too few."""
    table = build(collect(grid))
    squares: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for row in table.rows[1:]:
        for name, cell in row.cells.items():
            if cell.difference and cell.difference.count > 1:
                pairs = paired(cell.seeds, table.baseline.cells[name].seeds)
                squares[name].append((float(np.var(pairs, ddof=1)), len(pairs) - 1))
    return [
        Spread(
            metric,
            math.sqrt(sum(v * freedom for v, freedom in squares[metric.name]) / total),
            total,
        )
        for metric in table.metrics
        if (total := sum(freedom for _, freedom in squares[metric.name]))
    ]


def outlook(grid: Grid, effect: str | None = None) -> str:
    """Lines of what numbers of seeds can tell, and how many `effect` asks for.

    Args:
        effect: of --effect: a difference in standard deviations, or METRIC=DIFFERENCE.
    Raises:
        InputError: an effect that is no number, or of a metric whose spread is not known yet.
    """
    verdicts, counts = verdicts_of(grid), sorted({*USUAL_SEEDS, len(grid.config.seeds)})
    effects = {n: least_effect(n, verdicts) for n in counts if n >= FEWEST_PAIRS}
    known, note = _known(grid)
    lines = [
        f"least difference that {POWER:.0%} of tables would find, {verdicts} verdicts after "
        "Holm's correction, by number of seeds",
        f"{'':<32}" + "".join(f"{n:>9}" for n in effects),
        f"{'standard deviations (sd)':<32}" + "".join(f"{e:>9.1f}" for e in effects.values()),
    ]
    for spread in known:
        name = f"{spread.metric.label}, sd {number(spread.sd, spread.metric)}"
        shown = (number(e * spread.sd, spread.metric) for e in effects.values())
        lines.append(f"{name:<32}" + "".join(f"{text:>9}" for text in shown))
    lines.append(note or "sd: of the paired difference, by the completed runs")
    if effect is not None:
        needed = seeds_needed(_in_deviations(effect, known), verdicts)
        lines.append(f"--effect {effect}: {needed or f'more than {MOST_SEEDS:,}'} seeds")
    return "\n".join(lines)


def _known(grid: Grid) -> tuple[list[Spread], str]:
    """What earlier runs tell, and why they do not."""
    try:
        known = spreads(grid)
    except InputError as error:
        return [], f"sd: not known in any metric's unit ({error})"
    return known, "" if known else "sd: of the paired difference; no two completed pairs tell it"


def _in_deviations(effect: str, known: list[Spread]) -> float:
    """An effect as it was typed, in standard deviations."""
    name, _, size = effect.rpartition("=")
    found = {spread.metric.name: spread.sd for spread in known}
    try:
        value = float(size)
    except ValueError:
        value = math.nan
    require(
        0 < value < math.inf,
        f"--effect {effect} is no difference: write a number of standard deviations, e.g. 1.5, or "
        "METRIC=DIFFERENCE",
    )
    require(
        not name or found.get(name, 0.0) > 0,
        f"--effect {effect}: no completed runs tell how far {name} differs between seeds: write a "
        "number of standard deviations, e.g. --effect 1.5",
    )
    return value / found[name] if name else value
