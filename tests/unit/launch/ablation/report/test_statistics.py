"""Known values, and what must not change a verdict."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from launch.ablation.report.statistics import (
    bootstrap_interval,
    compare,
    sign_flip_test,
    student_interval,
    summarise,
)

OTHER_SIDE = {"better": "worse", "worse": "better"}
differences = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=3, max_size=6)


def test_summary_of_known_values():
    found = summarise([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (found.low, found.median, found.high, found.count) == (2.0, 3.0, 4.0, 5)


def test_one_value_is_its_own_quartiles():
    found = summarise([7.0])
    assert (found.low, found.median, found.high, found.count) == (7.0, 7.0, 7.0, 1)


def test_student_interval_is_that_of_scipys_t_test():
    values = [0.3, 0.1, 0.25, 0.4]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert student_interval(values) == pytest.approx((expected.low, expected.high))


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


@pytest.mark.parametrize(
    ("values", "p", "verdict"),
    [
        ([0.10, 0.12, 0.11], 0.25, "better"),
        ([-0.10, -0.12, -0.11], 0.25, "worse"),
        ([0.10, 0.90, 0.02], 0.25, "within seed noise"),  # one sign, but the t interval holds 0
        ([0.10, 0.12, -0.01], 0.5, "within seed noise"),
        ([0.0, 0.0, 0.0], 1.0, "within seed noise"),
        ([0.1, 0.1, 0.1], 0.25, "better"),
        ([0.1, 0.12], None, "too few seeds to tell"),
        ([0.1], None, "too few seeds to tell"),
        ([0.5, 0.6, 0.55, 0.4, 0.5, 0.6, 0.5, -0.05], 0.015625, "better"),
    ],
)
def test_verdicts(values, p, verdict):
    found = compare(values, higher_is_better=True)
    assert found.verdict == verdict
    assert found.p_value == (None if p is None else pytest.approx(p))
    assert found.count == len(values)


def test_noise_alone_rarely_counts():
    """With 3 and 5 pairs of pure noise, at most about one verdict in twenty is wrong."""
    draw = np.random.default_rng(1)
    for count in (3, 5):
        verdicts = [compare(draw.normal(size=count), True).verdict for _ in range(80)]
        assert sum(v != "within seed noise" for v in verdicts) <= 9


@settings(max_examples=15, deadline=None)
@given(differences, st.randoms())
def test_order_of_seeds_does_not_matter_to_median_t_and_p(values, random):
    shuffled = random.sample(values, len(values))
    one, other = compare(values, True), compare(shuffled, True)
    assert one.median == other.median
    assert one.p_value == pytest.approx(other.p_value)
    assert one.t_interval == pytest.approx(other.t_interval)


@settings(max_examples=15, deadline=None)
@given(differences)
def test_the_other_direction_turns_the_verdict(values):
    one, other = compare(values, True).verdict, compare(values, False).verdict
    assert other == OTHER_SIDE.get(one, one)


@settings(max_examples=15, deadline=None)
@given(differences, st.sampled_from([0.25, 2.0, 1024.0]))
def test_units_do_not_matter(values, scale):
    one = compare(values, True)
    other = compare([scale * value for value in values], True)
    assert (one.verdict, one.p_value) == (other.verdict, other.p_value)
    assert other.interval == pytest.approx(tuple(scale * bound for bound in one.interval))
