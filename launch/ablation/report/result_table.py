"""The one model of the table: every format and plot shows what stands here."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.ablation_metrics import METRICS, TASKS, Metric
from configs.checks import require
from launch.ablation.measurements import Heading, Measurement, Results, Row
from launch.ablation.report.confounders import CAVEATS, refusal
from launch.ablation.report.statistics import Summary, improvement, summarise
from launch.ablation.report.verdicts import Difference, Sample, judge
from pretrain.run.plateau import MARGIN, SHORTER

Key = tuple[str, str]
"""names of a row and a metric"""


@dataclass(frozen=True)
class TrialValue:
    """What one fine-tuning trial measured, in the units shown, and its folder."""

    value: float
    run: str


@dataclass(frozen=True)
class SeedValue:
    """What the runs of one pretraining seed measured, in the units shown."""

    seed: int
    value: float
    """of pretraining itself; for a downstream task, the median over fine-tuning seeds"""
    trials: tuple[TrialValue, ...]
    """one for each fine-tuning seed"""
    runs: tuple[str, ...]
    """folders, relative to the table's"""


@dataclass(frozen=True)
class TableCell:
    """One metric of one row, in the units shown."""

    seeds: tuple[SeedValue, ...]
    summary: Summary
    """over pretraining seeds"""
    finetuning_spread: float | None
    """interquartile range over fine-tuning seeds within a pretraining seed, the median of them;
    None for fewer than 3 of them"""
    difference: Difference | None
    refused: str
    """why there is no difference, where one might be expected"""


@dataclass(frozen=True, kw_only=True)
class TableRow(Row):
    """A row with its cells by metric."""

    is_baseline: bool
    cells: dict[str, TableCell]

    @property
    def label(self) -> str:
        """The name, with a dagger where a reader must know more of the row's runs."""
        return f"{self.name} †" if self.marks else self.name

    def difference(self, metric: Metric) -> Difference | None:
        """To the baseline; None where it is not measured, or not compared."""
        cell = self.cells.get(metric.name)
        return cell.difference if cell else None


@dataclass(frozen=True)
class Table(Heading):
    """Everything a reader sees, before any format."""

    metrics: tuple[Metric, ...]
    rows: tuple[TableRow, ...]
    """the baseline first, the others in the order of the results"""
    notes: tuple[str, ...]
    most_seeds: int | None
    """seeds are added until verdicts are decided, up to so many; None: it is looked at once"""
    worths: tuple[str, ...] = ()
    """for each row, how much compute of the baseline it is worth, in a sentence"""

    @property
    def baseline(self) -> TableRow:
        """The row that differences are taken to."""
        return self.rows[0]

    @property
    def is_judged(self) -> bool:
        """Whether a row has a difference to the baseline."""
        return any(cell.difference for row in self.rows for cell in row.cells.values())

    @property
    def refusals(self) -> list[str]:
        """Reasons for which rows and metrics have no difference, each once."""
        cells = [cell for row in self.rows for cell in row.cells.values()]
        return list(dict.fromkeys(cell.refused for cell in cells if cell.refused))

    @property
    def marks(self) -> list[str]:
        """What a reader must know of the rows' runs, each with its row's name."""
        return [f"{row.name}: {mark}" for row in self.rows for mark in row.marks]

    @property
    def on_plateau(self) -> str:
        """Which rows end on the plateau and what shortens it, in a line; empty where none does."""
        rows = [row for row in self.rows if row.on_plateau]
        if not rows:
            return ""
        names = [f"{r.name} (seed {', '.join(map(str, r.on_plateau))})" for r in rows]
        end, none = ("ends", "it gets no") if len(rows) == 1 else ("end", "they get no")
        none = "no row gets a" if self.baseline.on_plateau else none
        return (
            f"{', '.join(names)} {end} on the plateau, less than {MARGIN:g} nats under the unigram "
            f"distribution: {none} verdict from held-out figures. {SHORTER}."
        )

    @property
    def references(self) -> dict[str, str]:
        """Labels of the metrics that a paper reports, by name."""
        labels = {metric.name: metric.label for metric in self.metrics}
        names = dict.fromkeys(name for row in self.rows for name in row.reference)
        return {name: labels.get(name, name) for name in names}


def build(results: Results) -> Table:
    """Statistics of the results, row by row.

    Raises:
        InputError: no row or two have the baseline's name, a measurement is of a row or metric
            that the results do not list, or stands there twice.
    """
    check(results)
    grouped: dict[Key, list[Measurement]] = defaultdict(list)
    for measurement in results.measurements:
        grouped[measurement.row, measurement.metric.name].append(measurement)
    figures = {
        (row.name, metric.name): seed_values(
            grouped[row.name, metric.name], metric.scale, results.folder
        )
        for row in results.rows
        for metric in results.metrics
    }
    baseline = next(row for row in results.rows if row.name == results.baseline)
    ordered = [baseline, *(row for row in results.rows if row is not baseline)]
    caveats = [c.reason for c in CAVEATS if any(c.holds(row, baseline) for row in ordered)]
    samples, refused = compare(results, baseline, figures)
    differences = judge(samples, results.most_seeds)
    return Table(
        results.name,
        results.title,
        results.question,
        results.source,
        results.scale,
        results.metrics,
        tuple(build_row(results, row, figures, differences, refused) for row in ordered),
        (*results.notes, *caveats),
        results.most_seeds,
        budget=results.budget,
    )


def compare(
    results: Results, baseline: Row, figures: Mapping[Key, tuple[SeedValue, ...]]
) -> tuple[dict[Key, Sample], dict[Key, str]]:
    """What is judged of rows other than the baseline, and why the rest is not."""
    samples, refused = {}, {}
    for row in results.rows:
        for metric in results.metrics:
            own, other = figures[row.name, metric.name], figures[baseline.name, metric.name]
            if row is baseline or not metric.is_result or not own:
                continue
            differences = paired(own, other)
            reason = refusal(metric.name, row, baseline)
            if other and not differences:
                reason = reason or "no pretraining seed in common with the baseline"
            if reason:
                refused[row.name, metric.name] = reason
            elif differences:
                samples[row.name, metric.name] = Sample(
                    differences,
                    metric.higher_is_better,
                    margin(metric, results.same_within, [seed.value for seed in other]),
                    improvement(
                        [seed.value for seed in own],
                        [seed.value for seed in other],
                        metric.higher_is_better,
                    ),
                )
    return samples, refused


def margin(
    metric: Metric, same_within: Mapping[str, float | str], baseline: Sequence[float]
) -> float | None:
    """The difference in a metric that does not matter, in the units shown; None: every one does.

    Args:
        same_within: as in the ablation's configuration.
        baseline: the figures of its runs, which percentages are of the median of.
    """
    name = metric.name if metric.name in METRICS else TASKS
    wish = same_within.get(metric.name, same_within.get(name))
    if isinstance(wish, str):
        return float(wish.rstrip("% ")) / 100 * abs(float(np.median(baseline)))
    return wish


def build_row(
    results: Results,
    row: Row,
    figures: Mapping[Key, tuple[SeedValue, ...]],
    differences: Mapping[Key, Difference],
    refused: Mapping[Key, str],
) -> TableRow:
    """One row with its cells; metrics without a finite figure have none."""
    keys = [(row.name, metric.name) for metric in results.metrics]
    cells = {
        key[1]: build_cell(figures[key], differences.get(key), refused.get(key, ""))
        for key in keys
        if figures[key]
    }
    marks = (*row.marks, *lost(results.measurements, row.name))
    fields = {**vars(row), "marks": marks}
    return TableRow(**fields, is_baseline=row.name == results.baseline, cells=cells)


def build_cell(
    own: tuple[SeedValue, ...], difference: Difference | None, refused: str
) -> TableCell:
    """Summary of a row's figures, with its difference to the baseline or why there is none."""
    spreads = [summarise([t.value for t in seed.trials]).quartiles for seed in own if seed.trials]
    known = [high - low for low, high in filter(None, spreads)]
    return TableCell(
        own,
        summarise([seed.value for seed in own]),
        float(np.median(known)) if known else None,
        difference,
        refused,
    )


def paired(own: Sequence[SeedValue], other: Sequence[SeedValue]) -> list[float]:
    """Own minus other, for each pretraining seed that both have."""
    partner = {seed.seed: seed.value for seed in other}
    return [seed.value - partner[seed.seed] for seed in own if seed.seed in partner]


def seed_values(
    measurements: Iterable[Measurement], scale: float, folder: Path
) -> tuple[SeedValue, ...]:
    """The finite figures of one row and metric by pretraining seed, in order of seeds."""
    by_seed: dict[int, list[Measurement]] = defaultdict(list)
    for measurement in sorted(measurements, key=lambda m: m.finetuning_seed or 0):
        if math.isfinite(measurement.value):
            by_seed[measurement.seed].append(measurement)
    return tuple(
        SeedValue(
            seed,
            scale * float(np.median([m.value for m in group])),
            tuple(
                TrialValue(scale * m.value, relative(m.run_dir, folder))
                for m in group
                if m.finetuning_seed is not None
            ),
            tuple(dict.fromkeys(relative(m.run_dir, folder) for m in group)),
        )
        for seed, group in sorted(by_seed.items())
    )


def lost(measurements: Iterable[Measurement], row: str) -> list[str]:
    """Marks for a row's figures that are infinite or not numbers, as of a run that diverged."""
    return [
        f"seed {m.seed}: {m.metric.name} is {m.value:g}, left out of every figure "
        f"({m.run_dir.name})"
        for m in measurements
        if m.row == row and not math.isfinite(m.value)
    ]


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder, with slashes, so that a moved tree keeps its links."""
    return Path(os.path.relpath(path, folder)).as_posix()


def check(results: Results) -> None:
    """Raise `InputError` for results that contradict themselves."""
    name, rows = results.name, [row.name for row in results.rows]
    metrics = {metric.name for metric in results.metrics}
    require(
        rows.count(results.baseline) == 1 and len(set(rows)) == len(rows),
        f"{name}: baseline '{results.baseline}' must be one of its rows, which need different "
        f"names: {', '.join(rows)}",
    )
    require(
        {row for row, _ in results.pretraining_runs} <= set(rows),
        f"{name}: pretraining_runs names rows that it lacks; its rows: {', '.join(rows)}",
    )
    seen = set()
    for m in results.measurements:
        metric = m.metric.name
        require(
            m.row in rows and metric in metrics,
            f"{name}: {m.run_dir} measures {metric} for row '{m.row}': name both in it",
        )
        key = (m.row, metric, m.seed, m.finetuning_seed)
        require(
            key not in seen,
            f"{name}: two runs measure {metric} of '{m.row}' at seed {m.seed}: leave out one, e.g. "
            f"{m.run_dir}",
        )
        seen.add(key)
