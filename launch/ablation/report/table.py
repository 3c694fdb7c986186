"""The one model of the table: every format and plot shows what stands here."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.checks import require
from launch.ablation.report.measures import CAVEAT, refusal
from launch.ablation.report.statistics import Difference, Summary, compare, summarise
from launch.ablation.study import Measurement, Metric, Row, Study


@dataclass(frozen=True)
class Trial:
    """What one fine-tuning seed measured, in the units shown, and its folder."""

    value: float
    run: str


@dataclass(frozen=True)
class SeedValue:
    """What the runs of one pretraining seed measured, in the units shown."""

    seed: int
    value: float
    """of pretraining itself; for a downstream task, the median over fine-tuning seeds"""
    trials: tuple[Trial, ...]
    """one for each fine-tuning seed"""
    runs: tuple[str, ...]
    """folders, relative to the table's"""


@dataclass(frozen=True)
class Cell:
    """One metric of one row, in the units shown."""

    seeds: tuple[SeedValue, ...]
    summary: Summary
    """over pretraining seeds"""
    finetuning_spread: float | None
    """interquartile range over fine-tuning seeds within a pretraining seed, the median of them"""
    difference: Difference | None
    refused: str
    """why there is no difference, where one might be expected"""


@dataclass(frozen=True)
class TableRow:
    """One choice along the axis, with its cells by metric."""

    name: str
    is_baseline: bool
    settings: dict[str, Any]
    chosen: dict[str, Any]
    marks: tuple[str, ...]
    reference: dict[str, float]
    cells: dict[str, Cell]

    @property
    def label(self) -> str:
        """The name, with a dagger where a reader must know more of the row's runs."""
        return f"{self.name} †" if self.marks else self.name


@dataclass(frozen=True)
class Table:
    """Everything a reader sees, before any format."""

    name: str
    title: str
    question: str
    source: str
    scale: str
    metrics: tuple[Metric, ...]
    rows: tuple[TableRow, ...]
    """the baseline first, the others in the study's order"""
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
    def references(self) -> dict[str, str]:
        """Labels of the metrics that a paper reports, by name."""
        labels = {metric.name: metric.label for metric in self.metrics}
        names = dict.fromkeys(name for row in self.rows for name in row.reference)
        return {name: labels.get(name, name) for name in names}


def build(study: Study) -> Table:
    """Statistics of a study, row by row.

    Raises:
        InputError: no row or two have the baseline's name, a measurement names a row or metric
            that the study lacks, or stands there twice.
    """
    check(study)
    found: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in study.measurements:
        found[measurement.row, measurement.metric].append(measurement)
    seeds = {
        (row.name, metric.name): seed_values(
            found[row.name, metric.name], metric.scale, study.folder
        )
        for row in study.rows
        for metric in study.metrics
    }
    baseline = next(row for row in study.rows if row.name == study.baseline)
    ordered = [baseline, *(row for row in study.rows if row is not baseline)]
    caveat = [CAVEAT.reason] if any(CAVEAT.holds(row, baseline) for row in ordered) else []
    return Table(
        study.name,
        study.title,
        study.question,
        study.source,
        study.scale,
        study.metrics,
        tuple(build_row(study, row, baseline, seeds) for row in ordered),
        (*study.notes, *caveat),
    )


def build_row(
    study: Study,
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
            refusal(metric.name, row, baseline) if metric.is_result else "",
        )
        for metric in study.metrics
        if seeds[row.name, metric.name]
    }
    marks = (*row.marks, *lost(study.measurements, row.name))
    return TableRow(
        row.name, row is baseline, row.settings, row.chosen, marks, row.reference, cells
    )


def build_cell(
    metric: Metric, own: tuple[SeedValue, ...], other: tuple[SeedValue, ...], refused: str
) -> Cell:
    """Summary of a row's own figures, and their paired differences to another's."""
    partner = {seed.seed: seed.value for seed in other}
    pairs = [seed.value - partner[seed.seed] for seed in own if seed.seed in partner]
    if other and not pairs:
        refused = refused or "no pretraining seed in common with the baseline"
    spreads = [
        summarise([trial.value for trial in seed.trials]) for seed in own if len(seed.trials) > 1
    ]
    return Cell(
        own,
        summarise([seed.value for seed in own]),
        float(np.median([spread.high - spread.low for spread in spreads])) if spreads else None,
        compare(pairs, metric.higher_is_better) if pairs and not refused else None,
        refused,
    )


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
                Trial(scale * m.value, relative(m.run_dir, folder))
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
        f"seed {m.seed}: {m.metric} is {m.value:g}, left out of every figure ({m.run_dir.name})"
        for m in measurements
        if m.row == row and not math.isfinite(m.value)
    ]


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder, with slashes, so that a moved tree keeps its links."""
    return Path(os.path.relpath(path, folder)).as_posix()


def check(study: Study) -> None:
    """Raise `InputError` for a study that contradicts itself."""
    names = [row.name for row in study.rows]
    metrics = {metric.name for metric in study.metrics}
    require(
        names.count(study.baseline) == 1 and len(set(names)) == len(names),
        f"{study.name}: baseline '{study.baseline}' must be one of its rows, which need different "
        f"names: {', '.join(names)}",
    )
    require(
        {row for row, _ in study.pretraining_runs} <= set(names),
        f"{study.name}: pretraining_runs names rows that it lacks; its rows: {', '.join(names)}",
    )
    seen = set()
    for m in study.measurements:
        require(
            m.row in names and m.metric in metrics,
            f"{study.name}: {m.run_dir} measures {m.metric} for row '{m.row}': name both in it",
        )
        key = (m.row, m.metric, m.seed, m.finetuning_seed)
        require(
            key not in seen,
            f"{study.name}: two runs measure {m.metric} of '{m.row}' at seed {m.seed}: leave out "
            f"one, e.g. {m.run_dir}",
        )
        seen.add(key)
