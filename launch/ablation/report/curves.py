"""Held-out curves of runs, against tokens, minutes and FLOPs, and over the seeds of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs.errors import InputError
from configs.loader import load_run_config
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from launch.ablation.budget import vocabulary_of
from launch.ablation.compute import Work
from launch.ablation.measurements import Results
from launch.ablation.report.confounders import confounded
from pretrain.run.plateau import Plateau

POINTS = 200
"""most of a band"""
FEWEST = 4
"""evaluations that a power law is fitted to"""


@dataclass(frozen=True)
class Curve:
    """A held-out metric of one run; arrays of one length."""

    tokens: np.ndarray
    minutes: np.ndarray
    """spent in training steps: without evaluations, checkpoints and the time between two jobs"""
    values: np.ndarray
    flops: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """useful ones, as if all sequences were full; zeros where the run does not tell its recipe"""
    left_at: float = 0.0
    """tokens at which the plateau was left; infinite where it was not"""


@dataclass(frozen=True)
class Band:
    """Curves of several seeds as one: arrays of one length."""

    x: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


def read_curve(run_dir: Path, metric: str) -> Curve | None:
    """The curve of a run folder; None where it has fewer than two evaluations."""
    records = RunFolder(run_dir).read_metrics()
    heldout = [r for r in records if r["kind"] == "heldout" and metric in r]
    train = [r for r in records if r["kind"] == "train"]
    if len(heldout) < 2 or not train:
        return None
    steps = np.array([0, *(record["step"] for record in train)])
    tokens = np.array([0.0, *(record["tokens"] for record in train)])
    # A record's rate is the mean since the record before.
    seconds = np.diff(tokens) / [record["tokens_per_second"] for record in train]
    minutes = np.concatenate([[0.0], np.cumsum(seconds)]) / 60
    at = [record["step"] for record in heldout]
    values = np.array([record[metric] for record in heldout])
    seen = np.interp(at, steps, tokens)
    spent = np.interp(at, steps, minutes)
    return Curve(seen, spent, values, flops_of(run_dir, seen), left_at(Plateau.of(records)))


def left_at(plateau: Plateau | None) -> float:
    """Tokens; 0 where nothing is known of a plateau, infinite where it was never left."""
    if plateau is None:
        return 0.0
    return float("inf") if plateau.left_at_tokens is None else plateau.left_at_tokens


def flops_of(run_dir: Path, tokens: np.ndarray) -> np.ndarray:
    """FLOPs of a run's first tokens, by its configuration; zeros where there is none to be read."""
    try:
        config = load_run_config(PretrainConfig, run_dir)
        return Work.of(config, vocabulary_of(config)).flops_at(tokens)
    except InputError:
        return np.zeros(len(tokens))


def band(curves: Sequence[Curve], axis: str) -> Band:
    """Median and range over curves, where all of them are; `axis` is tokens, minutes or flops.

    Where one begins, in minutes perhaps, only after another has ended: where any of them is.
    """
    xs = [getattr(curve, axis) for curve in curves]
    start, end = max(x[0] for x in xs), min(x[-1] for x in xs)
    if start > end:
        start, end = min(x[0] for x in xs), max(x[-1] for x in xs)
    shared = np.unique(np.concatenate(xs))
    shared = shared[(shared >= start) & (shared <= end)]
    if len(shared) > POINTS:
        shared = shared[np.linspace(0, len(shared) - 1, POINTS).round().astype(int)]
    values = np.array([np.interp(shared, x, c.values, np.nan, np.nan) for x, c in zip(xs, curves)])
    return Band(shared, np.nanmedian(values, 0), np.nanmin(values, 0), np.nanmax(values, 0))


@dataclass(frozen=True)
class PowerLaw:
    """loss = scale x FLOPs ^ -exponent."""

    scale: float
    exponent: float

    def __call__(self, flops: np.ndarray) -> np.ndarray:
        """The losses at so many FLOPs."""
        return self.scale * flops**-self.exponent

    @classmethod
    def fit(cls, flops: np.ndarray, losses: np.ndarray) -> PowerLaw | None:
        """Least squares in logarithms; None for too few points, or losses that do not fall."""
        good = (flops > 0) & (losses > 0)
        if good.sum() < FEWEST:
            return None
        slope, level = np.polyfit(np.log(flops[good]), np.log(losses[good]), 1)
        return cls(float(np.exp(level)), -float(slope)) if slope < 0 else None


def law_of(curves: Sequence[Curve]) -> tuple[np.ndarray, PowerLaw] | None:
    """(FLOPs, the power law) of all evaluations of a row's runs off the plateau."""
    off = [curve.tokens >= curve.left_at for curve in curves]
    flops = np.concatenate([curve.flops[good] for curve, good in zip(curves, off)])
    losses = np.concatenate([curve.values[good] for curve, good in zip(curves, off)])
    law = PowerLaw.fit(flops, losses)
    return (np.sort(flops[flops > 0]), law) if law else None


def curve_metric(results: Results) -> str:
    """What every row's curve shows: the loss, or bits per byte where tokenizers differ."""
    baseline = next(row for row in results.rows if row.name == results.baseline)
    same_units = not any(
        confounded("mlm_loss", row, baseline) and not confounded("bits_per_byte", row, baseline)
        for row in results.rows
    )
    return "mlm_loss" if same_units else "bits_per_byte"
