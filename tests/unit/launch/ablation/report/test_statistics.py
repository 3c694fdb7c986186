"""Published worked examples, the same by scipy, and what must not change a figure."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from launch.ablation.report.statistics import (
    bootstrap_interval,
    equivalence_test,
    holm,
    improvement,
    sign_flip_test,
    student_interval,
    summarise,
    t_test,
)

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Student (1908, The Probable Error of a Mean, section IX): hours of sleep gained by one drug over
another, ten patients; R's `t.test(extra ~ group, data = sleep, paired = TRUE)`"""
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Fisher (1935, section 17): eighths of an inch by which crossed maize outgrew its pair"""
differences = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=3, max_size=6)


def test_summary_of_known_values():
    found = summarise([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (found.median, found.quartiles, found.count) == (3.0, (2.0, 4.0), 5)


@pytest.mark.parametrize("values", [[7.0], [7.0, 8.0]])
def test_one_or_two_values_have_no_quartiles(values):
    assert summarise(values).quartiles is None


def test_interquartile_mean_leaves_out_a_quarter_on_each_side():
    assert summarise([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 700.0]).iqm == 3.5
    assert summarise([1.0, 2.0, 6.0]).iqm == 3.0


def test_students_own_example():
    assert t_test(SLEEP) == pytest.approx(0.002833, abs=1e-6)
    assert student_interval(SLEEP) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)


def test_darwins_maize():
    """Fisher's t is 2.148 and his p by all 2^15 flips of signs 5.267 % (sections 17 and 21)."""
    assert t_test(DARWIN) == pytest.approx(2 * stats.t.sf(2.148, 14), abs=1e-4)
    assert sign_flip_test(DARWIN) == pytest.approx(0.05267, abs=0.006)


@settings(max_examples=20, deadline=None)
@given(differences, st.integers(-8, 8).map(lambda n: n / 3))
def test_one_sided_tests_are_scipys(values, null):
    if np.ptp(values) == 0:
        return
    for side, scipys in (("above", "greater"), ("below", "less"), ("both", "two-sided")):
        expected = stats.ttest_1samp(values, null, alternative=scipys).pvalue
        assert t_test(values, null, side) == pytest.approx(expected)


def test_values_without_spread_are_certain():
    assert t_test([[0.0] * 3, [0.5] * 3]).tolist() == [1.0, 0.0]
    assert [float(equivalence_test([0.5] * 3, within)) for within in (0.4, 0.5, 0.6)] == [1, 1, 0]
    assert equivalence_test([0.0] * 3, 0.1) == 0.0


def test_equivalence_is_an_interval_within_the_margin():
    """At level 0.05 as the interval of 90 % (Schuirmann, 1987)."""
    _, high = stats.ttest_1samp(SLEEP, 0).confidence_interval(0.9)
    assert equivalence_test(SLEEP, high + 1e-6) < 0.05 < equivalence_test(SLEEP, high - 1e-6)
    mirrored = [-value for value in SLEEP]
    assert equivalence_test(SLEEP, 2.0) == pytest.approx(equivalence_test(mirrored, 2.0))


def test_holms_correction():
    """0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 no less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([[0.5, 0.9], [0.04, 0.01]]).tolist() == [[1.0, 1.0], [0.04, 0.02]]
    assert holm([]).tolist() == []


def test_bootstrap_of_three_pairs_spans_them():
    """The median of a resample is the smallest of three in 7 of 27 cases: more than 2.5 %."""
    assert bootstrap_interval([0.2, 0.1, 0.4]) == (0.1, 0.4)


def test_bootstrap_is_the_same_at_every_call():
    values = list(np.random.default_rng(0).normal(size=9))
    assert bootstrap_interval(values) == bootstrap_interval(values)


@settings(max_examples=20, deadline=None)
@given(differences)
def test_sign_flip_test_counts_all_flips(values):
    sums = np.array(list(product((1, -1), repeat=len(values)))) @ np.array(values)
    assert sign_flip_test(values) == pytest.approx(np.mean(np.abs(sums) >= abs(sum(values)) - 1e-9))


def test_improvement_counts_pairs_of_runs_whatever_their_seeds():
    """As the statistic of Mann and Whitney, over its greatest."""
    own, other = [0.1, 0.5, 0.7], [0.2, 0.5, 0.4]
    expected = stats.mannwhitneyu(own, other).statistic / 9
    assert improvement(own, other, True) == pytest.approx(expected)
    assert improvement(own, other, False) == pytest.approx(1 - expected)
