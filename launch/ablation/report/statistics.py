"""Medians, paired differences, and the tests behind a verdict.

Runs are compared in pairs: a row and the baseline with the same pretraining seed read their text in
the same order and, where they have the same shapes, begin with the same weights: what the seed does
to both drops out of their difference (Bouthillier et al., 2021, Accounting for Variance in Machine
Learning Benchmarks, https://arxiv.org/abs/2103.03098). Medians, as RoBERTa reports them, are not
moved by one run that went astray.

Tests take samples along the last axis, so that thousands are judged at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
FEWEST_FOR_QUARTILES = 3
RESAMPLES = 9_999

Side = Literal["both", "above", "below"]


@dataclass(frozen=True)
class Summary:
    """The middle of a sample, and how many values it has."""

    median: float
    iqm: float
    """interquartile mean: of what is left without the lowest and the highest quarter, rounded down
    (Agarwal et al., 2021, https://arxiv.org/abs/2108.13264); of 3 values or fewer, their mean"""
    quartiles: tuple[float, float] | None
    """None for fewer than 3 values, of which they say nothing"""
    count: int


def summarise(values: Sequence[float]) -> Summary:
    """Median, interquartile mean and quartiles (linear interpolation) of one value or more."""
    from scipy.stats import trim_mean

    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    count = len(values)
    quartiles = (low, high) if count >= FEWEST_FOR_QUARTILES else None
    return Summary(median, float(trim_mean(values, 0.25)), quartiles, count)


def t_test(values: ArrayLike, null: float = 0.0, side: Side = "both") -> np.ndarray:
    """p of Student's t test of the mean.

    Args:
        values: (..., n) with n of at least 2; where all n are equal, p is 0, or 1 if they are
            equal to `null` or lie on its other side.
        side: of `null`, on which the mean is claimed to lie.
    """
    from scipy.stats import t

    sample = np.asarray(values, dtype=float)
    count = sample.shape[-1]
    centre = sample.mean(-1) - null
    error = sample.std(-1, ddof=1) / math.sqrt(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(centre == 0, 0.0, centre / error)
    if side == "both":
        return np.asarray(2 * t.sf(np.abs(ratio), count - 1))
    tail = t.sf(ratio if side == "above" else -ratio, count - 1)
    return np.asarray(np.where((centre == 0) & (error == 0), 1.0, tail))


def equivalence_test(values: ArrayLike, within: float) -> np.ndarray:
    """p of two one-sided t tests, that the mean lies between -`within` and `within`.

    Schuirmann, 1987, A comparison of the two one-sided tests procedure and the power approach,
    https://doi.org/10.1007/BF01068419; `values` as above.
    """
    above, below = t_test(values, -within, "above"), t_test(values, within, "below")
    return np.asarray(np.maximum(above, below))


def holm(p_values: ArrayLike) -> np.ndarray:
    """p adjusted for their number, along the last axis: what is at most 0.05 may be believed, with
    one false claim or more in at most one family of twenty, however the tests depend on each other.

    Holm, 1979, A simple sequentially rejective multiple test procedure,
    https://www.jstor.org/stable/4615733
    """
    raw = np.asarray(p_values, dtype=float)
    order = np.argsort(raw, -1)
    left = np.arange(raw.shape[-1], 0, -1)
    steps = np.maximum.accumulate(np.take_along_axis(raw, order, -1) * left, -1)
    adjusted: np.ndarray = np.empty_like(raw)
    np.put_along_axis(adjusted, order, np.minimum(steps, 1.0), -1)
    return adjusted


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Percentile interval of the median (Efron and Tibshirani, 1993, An Introduction to the
    Bootstrap, chapter 13); the same at every call.

    Of 3 values it runs from the least to the largest, which holds the true median in
    1 - 2^(1-3) = 75 % of cases: it is shown, and does not decide.
    """
    from scipy.stats import bootstrap

    interval = bootstrap(
        (np.asarray(values),),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=0,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's t interval of the mean; a point where all values are equal."""
    from scipy.stats import t

    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def sign_flip_test(values: Sequence[float]) -> float:
    """Two-sided p of the mean under all flips of signs: exact up to 13 pairs, else sampled.

    Fisher's test (1935, The Design of Experiments, section 21), as advised for metrics whose
    distribution is not known (Dror et al., 2018, https://aclanthology.org/P18-1128). n pairs have
    2^n patterns of signs and no p below 2 of them, so few seeds never pass a correction: it is
    shown, and does not decide.
    """
    from scipy.stats import permutation_test

    return float(
        permutation_test(
            (np.asarray(values),),
            np.mean,
            permutation_type="samples",
            n_resamples=RESAMPLES,
            rng=0,
        ).pvalue
    )


def improvement(own: Sequence[float], other: Sequence[float], higher_is_better: bool) -> float:
    """Probability that a run of `own` is better than one of `other`, whatever their seeds: the
    share of all pairs, ties by half (Agarwal et al., as above)."""
    apart = np.subtract.outer(own, other) * (1 if higher_is_better else -1)
    return float(np.mean((apart > 0) + 0.5 * (apart == 0)))
