"""Held-out curves of runs, over tokens and over minutes of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.engine.log import read_metrics


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
    """The curve of a run folder; None where it has fewer than two evaluations, or no config."""
    records = read_metrics(run_dir / "metrics.jsonl")
    heldout = [r for r in records if r["kind"] == "heldout" and metric in r]
    train = [r for r in records if r["kind"] == "train"]
    if len(heldout) < 2 or not train or not (run_dir / "config.yaml").is_file():
        return None
    steps = np.array([0, *(record["step"] for record in train)])
    tokens = np.array([0.0, *tokens_seen(train, run_dir)])
    seconds = np.diff(tokens) / [record["tokens_per_second"] for record in train]
    minutes = np.concatenate([[0.0], np.cumsum(seconds)]) / 60
    at = [record["step"] for record in heldout]
    values = np.array([record[metric] for record in heldout])
    return Curve(np.interp(at, steps, tokens), np.interp(at, steps, minutes), values)


def tokens_seen(train: Sequence[dict], run_dir: Path) -> list[float]:
    """Tokens up to each record: as it says, else steps times the batch's budget."""
    if all("tokens" in record for record in train):
        return [record["tokens"] for record in train]
    config = load_config(PretrainConfig, str(run_dir / "config.yaml"))
    return [record["step"] * config.batch.sequences * config.max_length for record in train]


def band(curves: Sequence[Curve], axis: str, points: int = 200) -> Band:
    """Median and range over curves, where all of them are; `axis` is tokens or minutes."""
    xs = [getattr(curve, axis) for curve in curves]
    start, end = max(x[0] for x in xs), min(x[-1] for x in xs)
    inside = np.unique(np.concatenate(xs))
    grid = inside[(inside >= start) & (inside <= end)]
    grid = grid if len(grid) <= points else np.linspace(start, end, points)
    values = np.array([np.interp(grid, x, curve.values) for x, curve in zip(xs, curves)])
    return Band(grid, np.median(values, axis=0), values.min(axis=0), values.max(axis=0))
