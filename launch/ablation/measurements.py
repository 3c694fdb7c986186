"""What an ablation measured, before any statistics: rows, numbers, and the runs they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.ablation_metrics import Metric


@dataclass(frozen=True)
class Row:
    """One choice along the studied axis."""

    name: str
    settings: dict[str, Any]
    """the fields that make the row, e.g. {"mask_epochs": 10}"""
    reference: dict[str, float] = field(default_factory=dict)
    """what a paper reports for this row, by metric, as printed there (a metric's `scale` is not
    applied); names that are no metric of the results get a column of their own"""
    marks: tuple[str, ...] = ()
    """what a reader must know of its runs, e.g. "seed 2: undertrained (80 % of the tokens)" """
    chosen: dict[str, Any] = field(default_factory=dict)
    """fields that were tuned for this row alone, e.g. {"optimizer.learning_rate": 0.004}"""
    measure: dict[str, Any] = field(default_factory=dict)
    """how its held-out text is cut and masked, whether the row says so or its recipe: fields of
    `evaluation` as they came out; empty: it has no pretraining of its own"""
    on_plateau: tuple[int, ...] = ()
    """seeds of its runs that end on the plateau of the unigram distribution"""
    beyond: str = ""
    """why its tuned value may not be its best, which may lie beyond those that were tried"""


@dataclass(frozen=True)
class Measurement:
    """One number of one run."""

    row: str
    metric: Metric
    seed: int
    """of pretraining: runs of different rows with the same seed see the same order of text"""
    value: float
    run_dir: Path
    """where it stands: the pretraining run, or the folder of a task's scores.json"""
    finetuning_seed: int | None = None
    """of the trial, for a downstream task; None for what pretraining itself measures"""

    def __str__(self) -> str:
        return f"{self.metric.label} {self.value * self.metric.scale:.{self.metric.digits}f}"


@dataclass(frozen=True)
class Heading:
    """What an ablation is called and asks."""

    name: str
    title: str
    question: str
    source: str
    """where the reference figures stand, e.g. "RoBERTa, table 1"; empty: there are none"""
    scale: str
    budget: str = field(default="", kw_only=True)
    """what all rows spend the same of, in words, e.g. equal tokens"""


@dataclass(frozen=True)
class Results(Heading):
    """Everything that tables, plots and the report are made from."""

    baseline: str
    """the row that differences are taken to"""
    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]
    measurements: tuple[Measurement, ...]
    pretraining_runs: dict[tuple[str, int], Path]
    """(row, seed) -> run folder, whose metrics.jsonl has the curves"""
    folder: Path
    """where tables, plots and the report go"""
    same_within: Mapping[str, float | str] = field(default_factory=dict)
    """differences that do not matter, by metric, as the ablation's configuration has them"""
    most_seeds: int | None = None
    """seeds are added until the table is decided, up to so many; None: it is looked at once"""
    notes: tuple[str, ...] = ()
    """what holds for all runs: code version, token budget, corpus, machine hours"""
