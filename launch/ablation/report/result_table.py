"""The one model of the table: every format and plot shows what stands here."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.ablation_metrics import Metric
from configs.checks import require
from launch.ablation.measurements import Heading, Measurement, Results, Row
from launch.ablation.report.confounders import CAVEATS, refusal
from launch.ablation.report.statistics import Difference, Summary, compare, summarise
from pretrain.run.plateau import MARGIN, SHORTER


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
    """interquartile range over fine-tuning seeds within a pretraining seed, the median of them"""
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

    @property
    def baseline(self) -> TableRow:
        """The row that differences are taken to."""
        return self.rows[0]

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
    grouped: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in results.measurements:
        grouped[measurement.row, measurement.metric.name].append(measurement)
    seeds = {
        (row.name, metric.name): seed_values(
            grouped[row.name, metric.name], metric.scale, results.folder
        )
        for row in results.rows
        for metric in results.metrics
    }
    baseline = next(row for row in results.rows if row.name == results.baseline)
    ordered = [baseline, *(row for row in results.rows if row is not baseline)]
    caveats = [c.reason for c in CAVEATS if any(c.holds(row, baseline) for row in ordered)]
    return Table(
        results.name,
        results.title,
        results.question,
        results.source,
        results.scale,
        results.metrics,
        tuple(build_row(results, row, baseline, seeds) for row in ordered),
        (*results.notes, *caveats),
    )


def build_row(
    results: Results,
    row: Row,
    baseline: Row,
    seeds: Mapping[tuple[str, str], tuple[SeedValue, ...]],
) -> TableRow:
    """One row with its cells; metrics without a finite figure have none."""
    cells = {
        metric.name: build_cell(
            metric,
            seeds[row.name, metric.name],
            seeds[baseline.name, metric.name] if metric.is_result and row is not baseline else (),
            refusal(metric.name, row, baseline) if metric.is_result and row is not baseline else "",
        )
        for metric in results.metrics
        if seeds[row.name, metric.name]
    }
    marks = (*row.marks, *lost(results.measurements, row.name))
    fields = {**vars(row), "marks": marks}
    return TableRow(**fields, is_baseline=row is baseline, cells=cells)


def build_cell(
    metric: Metric, own: tuple[SeedValue, ...], other: tuple[SeedValue, ...], refused: str
) -> TableCell:
    """Summary of a row's own figures, and their paired differences to another's."""
    pairs = paired(own, other)
    if other and not pairs:
        refused = refused or "no pretraining seed in common with the baseline"
    spreads = [
        summarise([trial.value for trial in seed.trials]) for seed in own if len(seed.trials) > 1
    ]
    return TableCell(
        own,
        summarise([seed.value for seed in own]),
        float(np.median([spread.high - spread.low for spread in spreads])) if spreads else None,
        compare(pairs, metric.higher_is_better) if pairs and not refused else None,
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
