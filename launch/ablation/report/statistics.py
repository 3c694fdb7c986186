"""Medians, paired differences, and when a difference counts.

Runs are compared in pairs: a row and the baseline with the same pretraining seed read their text in
the same order and, where they have the same shapes, begin with the same weights: what the seed does
to both drops out of their difference (Bouthillier et al., 2021, Accounting for Variance in Machine
Learning Benchmarks, https://arxiv.org/abs/2103.03098). Medians, as RoBERTa reports them, are not
moved by one run that went astray.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
FEWEST_PAIRS = 3
RESAMPLES = 9_999

Verdict = Literal["better", "worse", "within seed noise", "too few seeds to tell"]

RULE = (
    "A row counts as better or worse than the baseline only where three things agree, with at "
    f"least {FEWEST_PAIRS} pairs of runs of the same pretraining seed: the bootstrap interval of "
    "the median difference excludes 0; the t interval of the mean difference, the wider one where "
    "seeds are few, excludes 0; and the exact sign-flip permutation test gives p ≤ 0.05 or, where "
    "the pairs are too few for that, its least possible p (all pairs have the same sign; 0.25 for "
    "3 pairs, 0.0625 for 5). Else the difference is within seed noise. No correction is made for "
    "the number of rows and metrics."
)
"""for readers of a table: what `compare` does"""


@dataclass(frozen=True)
class Summary:
    """The middle of a sample: median, quartiles, and how many values it has."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Difference:
    """What separates a row from the baseline, over pairs of runs of the same seed."""

    median: float
    count: int
    interval: tuple[float, float] | None
    """95 %, percentile bootstrap of the median; None for fewer than 3 pairs, as the next two"""
    t_interval: tuple[float, float] | None
    """95 %, Student's t, of the mean"""
    p_value: float | None
    """two-sided exact sign-flip permutation test of the mean"""
    verdict: Verdict


def summarise(values: Sequence[float]) -> Summary:
    """Median and quartiles (linear interpolation) of one value or more."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Summary(median, low, high, len(values))


def compare(differences: Sequence[float], higher_is_better: bool) -> Difference:
    """Judge row minus baseline, a difference for each pair; `RULE` says how.

    Args:
        differences: one finite number or more.
    """
    count = len(differences)
    median = float(np.median(differences))
    if count < FEWEST_PAIRS:
        return Difference(median, count, None, None, None, "too few seeds to tell")
    # No one of the three will do alone where seeds are few. The bootstrap assumes nothing of the
    # distribution, but of 3 pairs its interval runs from the least to the largest, which holds
    # the true median in 1 - 2^(1-3) = 75 % of cases, not in 95 %.
    interval = bootstrap_interval(differences)
    # Student's t is as wide as few pairs ask for, but believes that differences are normal.
    t_interval = student_interval(differences)
    # The permutation test is exact for any differences that are symmetric about 0, but n pairs
    # have 2^n patterns of signs, and no p below 2 of them: that least p must be enough.
    p_value = sign_flip_test(differences)
    least = 2.0 ** (1 - count)
    is_significant = p_value <= max(1 - CONFIDENCE, least) + 1e-9  # for p's own rounding
    if excludes_zero(interval) and excludes_zero(t_interval) and is_significant:
        verdict: Verdict = "better" if (median > 0) == higher_is_better else "worse"
    else:
        verdict = "within seed noise"
    return Difference(median, count, interval, t_interval, p_value, verdict)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Percentile interval of the median (Efron and Tibshirani, 1993, An Introduction to the
    Bootstrap, chapter 13); the same at every call."""
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
    distribution is not known (Dror et al., 2018, https://aclanthology.org/P18-1128).
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


def excludes_zero(interval: tuple[float, float]) -> bool:
    """Whether all of it lies on one side."""
    return interval[0] > 0 or interval[1] < 0
