"""What a table may claim: its verdicts, judged together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from launch.ablation.report.spending import sequential_p
from launch.ablation.report.statistics import (
    CONFIDENCE,
    bootstrap_interval,
    equivalence_test,
    holm,
    sign_flip_test,
    student_interval,
    t_test,
)

ALPHA = 1 - CONFIDENCE + 1e-12  # for p's own rounding
FEWEST_PAIRS = 3

Verdict = Literal["better", "worse", "the same", "cannot tell", "too few seeds to tell"]
Key = TypeVar("Key", bound=Hashable)

RULE = (
    "A row counts as better or worse than the baseline where the t test of the differences, over "
    f"at least {FEWEST_PAIRS} pairs of runs of the same pretraining seed, gives p ≤ 0.05 after "
    "Holm's correction for all verdicts of the table. It counts as the same within δ, the "
    "ablation's same_within, where two one-sided t tests with the same correction show that the "
    "mean difference is smaller than δ; that comes first, since a difference may be certain and "
    "too small to matter. Else the seeds cannot tell. Shown, and without a vote: p before the "
    "correction; the bootstrap interval of the median difference; the exact sign-flip test, whose "
    "least p (0.25 for 3 pairs, 0.0625 for 5) could not pass a correction; and the probability of "
    "improvement, that a run of the row is better than one of the baseline, whatever their seeds."
)
"""for readers of a table: what `judge` does"""
RULE_OF_LOOKS = (
    "Seeds were added until every verdict was decided, {most} at most, and looking after each from "
    f"the {FEWEST_PAIRS}rd on is paid for before Holm's correction: by alpha spending of O'Brien "
    "and Fleming's kind (Lan and DeMets, 1983)."
)
"""what is said beside it where seeds are added"""


@dataclass(frozen=True)
class Sample:
    """What one verdict is about: row minus baseline in one metric."""

    differences: Sequence[float]
    """one finite number for each pair of runs of one seed, in order of seeds"""
    higher_is_better: bool
    same_within: float | None = None
    """the difference that does not matter, in the same units; None: every one matters"""
    improvement: float = 0.5
    """probability that a run of the row is better than one of the baseline"""


@dataclass(frozen=True)
class Difference:
    """What separates a row from the baseline; None for what fewer than 3 pairs do not tell."""

    median: float
    count: int
    """of pairs"""
    interval: tuple[float, float] | None
    """95 %, percentile bootstrap of the median"""
    t_interval: tuple[float, float] | None
    """95 %, Student's t, of the mean"""
    p_value: float | None
    """two-sided, of the paired t test"""
    p_holm: float | None
    """the same, corrected for the looks at the table, if there were several, and its verdicts"""
    p_sign_flip: float | None
    """two-sided, of the exact sign-flip permutation test of the mean"""
    same_within: float | None
    """the difference that does not matter; None: every one matters"""
    p_same: float | None
    """of the two one-sided t tests that the mean difference is smaller than `same_within`"""
    p_same_holm: float | None
    """the same, corrected for all verdicts of the table"""
    improvement: float
    """probability that a run of the row is better than one of the baseline, whatever their seeds"""
    verdict: Verdict


@dataclass(frozen=True)
class Evidence:
    """p of the two claims that a sample may support; 1 for a claim that is not made."""

    different: float
    same: float


def judge(samples: Mapping[Key, Sample], most_seeds: int | None = None) -> dict[Key, Difference]:
    """The verdicts of a table, by the keys of its samples; `RULE` says how.

    Each kind of claim, a difference and a sameness, is false anywhere in the table in at most 5 %
    of tables.

    Args:
        most_seeds: the table is looked at after every seed until it is decided, or has so many.
    """
    tested = {k: s for k, s in samples.items() if len(s.differences) >= FEWEST_PAIRS}
    paid = [after_looks(s, most_seeds) if most_seeds else evidence(s) for s in tested.values()]
    different = holm([e.different for e in paid]).tolist()
    same = holm([e.same for e in paid]).tolist()
    adjusted = dict(zip(tested, map(Evidence, different, same)))
    return {
        key: describe(sample, evidence(sample), adjusted[key])
        if key in adjusted
        else too_few(sample)
        for key, sample in samples.items()
    }


def evidence(sample: Sample) -> Evidence:
    """p of one sample, as if it were alone."""
    within = sample.same_within
    same = 1.0 if within is None else float(equivalence_test(sample.differences, within))
    return Evidence(float(t_test(sample.differences)), same)


def after_looks(sample: Sample, most_seeds: int) -> Evidence:
    """p of one sample that was looked at after each of its pairs from the third on."""
    looks = tuple(range(FEWEST_PAIRS, most_seeds + 1))
    seen = [
        evidence(replace(sample, differences=sample.differences[:count]))
        for count in looks
        if count <= len(sample.differences)
    ]
    # Either side of a two-sided test is one of one side, at half the level.
    different = 2 * sequential_p([e.different / 2 for e in seen], looks)
    return Evidence(min(1.0, float(different)), float(sequential_p([e.same for e in seen], looks)))


def verdict_of(sample: Sample, adjusted: Evidence) -> Verdict:
    """What may be claimed, by corrected p."""
    if adjusted.same <= ALPHA:
        return "the same"
    if adjusted.different > ALPHA:
        return "cannot tell"
    return "better" if (np.mean(sample.differences) > 0) == sample.higher_is_better else "worse"


def describe(sample: Sample, raw: Evidence, adjusted: Evidence) -> Difference:
    """One sample with its verdict."""
    has_margin = sample.same_within is not None
    return Difference(
        median=float(np.median(sample.differences)),
        count=len(sample.differences),
        interval=bootstrap_interval(sample.differences),
        t_interval=student_interval(sample.differences),
        p_value=raw.different,
        p_holm=adjusted.different,
        p_sign_flip=sign_flip_test(sample.differences),
        same_within=sample.same_within,
        p_same=raw.same if has_margin else None,
        p_same_holm=adjusted.same if has_margin else None,
        improvement=sample.improvement,
        verdict=verdict_of(sample, adjusted),
    )


def too_few(sample: Sample) -> Difference:
    """One sample that is not tested."""
    return Difference(
        float(np.median(sample.differences)),
        len(sample.differences),
        *(None,) * 5,
        sample.same_within,
        *(None,) * 2,
        sample.improvement,
        "too few seeds to tell",
    )
