"""Held-out curves of runs, over tokens and over minutes of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.system.run_folder import RunFolder

POINTS = 200
"""most of a band"""


@dataclass(frozen=True)
class Curve:
    """A held-out metric of one run; arrays of one length."""

    tokens: np.ndarray
    minutes: np.ndarray
    """spent in training steps: without evaluations, checkpoints and the time between two jobs"""
    values: np.ndarray


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
    seconds = np.diff(tokens) / [record["tokens_per_second"] for record in train]
    minutes = np.concatenate([[0.0], np.cumsum(seconds)]) / 60
    at = [record["step"] for record in heldout]
    values = np.array([record[metric] for record in heldout])
    return Curve(np.interp(at, steps, tokens), np.interp(at, steps, minutes), values)


def band(curves: Sequence[Curve], axis: str) -> Band:
    """Median and range over curves, where all of them are; `axis` is tokens or minutes."""
    xs = [getattr(curve, axis) for curve in curves]
    start, end = max(x[0] for x in xs), min(x[-1] for x in xs)
    shared = np.unique(np.concatenate(xs))
    shared = shared[(shared >= start) & (shared <= end)]
    if len(shared) > POINTS:
        shared = np.linspace(start, end, POINTS)
    values = np.array([np.interp(shared, x, curve.values) for x, curve in zip(xs, curves)])
    return Band(shared, np.median(values, axis=0), values.min(axis=0), values.max(axis=0))
