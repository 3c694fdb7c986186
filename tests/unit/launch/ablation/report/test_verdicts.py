"""What a table claims, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.ablation.report.statistics import equivalence_test, holm, t_test
from launch.ablation.report.verdicts import ALPHA, Sample, judge

OTHER_SIDE = {"better": "worse", "worse": "better"}
NULL_TABLES, MOST_FALSE = 1_000, 0.064  # two standard errors above 5 %
differences = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=3, max_size=6)


def alone(values, higher_is_better=True, within=None):
    """The verdict of a table of one row and one metric."""
    return judge({"row": Sample(values, higher_is_better, within)})["row"]


@pytest.mark.parametrize(
    ("values", "within", "verdict"),
    [
        ([0.10, 0.12, 0.11], None, "better"),
        ([-0.10, -0.12, -0.11], None, "worse"),
        ([0.10, 0.90, 0.02], None, "cannot tell"),
        ([0.10, 0.12, -0.01], None, "cannot tell"),
        ([0.0, 0.0, 0.0], None, "cannot tell"),
        ([0.0, 0.0, 0.0], 0.01, "the same"),
        ([-0.002, -0.002, -0.002], 0.01, "the same"),  # by a hair, and certain
        ([-0.002, -0.002, -0.002], None, "worse"),
        ([-0.02, -0.02, -0.02], 0.01, "worse"),
        ([0.001, -0.008, 0.009], 0.01, "cannot tell"),  # too few seeds for so small a margin
        ([0.1, 0.12], 0.5, "too few seeds to tell"),
        ([0.1], None, "too few seeds to tell"),
    ],
)
def test_verdicts(values, within, verdict):
    found = alone(values, within=within)
    assert found.verdict == verdict and found.count == len(values)
    assert (found.p_value is None) == (found.interval is None) == (len(values) < 3)
    assert (found.p_same is None) == (within is None or len(values) < 3)


def test_more_rows_ask_for_more():
    own = Sample([0.10, 0.14, 0.11], True, 0.5)
    noise = {n: Sample([0.1 + n, -0.1, 0.3 - n], True) for n in range(7)}
    single, among = judge({"row": own})["row"], judge({"row": own, **noise})["row"]
    assert (single.verdict, single.p_holm) == ("the same", single.p_value)
    assert among.p_value == single.p_value and among.p_holm == pytest.approx(8 * single.p_value)
    assert among.p_same_holm == pytest.approx(8 * single.p_same)
    assert judge({"row": Sample([0.10, 0.14, 0.11], True), **noise})["row"].verdict == "cannot tell"


def test_rows_that_are_not_tested_are_not_corrected_for():
    few = {n: Sample([0.1, 0.2], True) for n in range(7)}
    found = judge({"row": Sample([0.10, 0.14, 0.11], True), **few})["row"]
    assert found.p_holm == found.p_value


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("tables", [NULL_TABLES, pytest.param(100_000, marks=pytest.mark.slow)])
def test_tables_without_a_difference_seldom_claim_one(seeds, tables):
    """Rows share the baseline's noise, as rows of a table do."""
    draw = np.random.default_rng(seeds)
    rows = draw.normal(size=(tables, 8, seeds)) - draw.normal(size=(tables, 1, seeds))
    claims = (holm(t_test(rows)) <= ALPHA).any(-1).mean()
    assert claims <= (MOST_FALSE if tables == NULL_TABLES else 0.052)
    assert (t_test(rows) <= ALPHA).any(-1).mean() > 0.15  # what the correction is for


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_rows_at_the_margin_seldom_count_as_the_same(seeds):
    draw = np.random.default_rng(seeds)
    rows = draw.normal(size=(NULL_TABLES, 8, seeds)) + 4.0
    assert (holm(equivalence_test(rows, 4.0)) <= ALPHA).any(-1).mean() <= MOST_FALSE
    assert (equivalence_test(rows - 4.0, 4.0) <= ALPHA).mean() > 0.75


def test_judge_claims_what_the_tests_say():
    draw = np.random.default_rng(0)
    for _ in range(10):
        table = draw.normal([[0.0], [3.0], [9.0]], size=(3, 4))
        found = judge(
            {n: Sample(row, True, 20.0 * (n == 0) or None) for n, row in enumerate(table)}
        )
        assert [d.p_holm for d in found.values()] == pytest.approx(holm(t_test(table)))
        claimed = {n for n, d in found.items() if d.verdict in OTHER_SIDE}
        assert claimed == {n for n in (1, 2) if holm(t_test(table))[n] <= ALPHA}


@settings(max_examples=15, deadline=None)
@given(differences, st.randoms())
def test_order_of_seeds_does_not_matter(values, random):
    one, other = alone(values), alone(random.sample(values, len(values)))
    assert one.median == other.median
    assert one.p_sign_flip == pytest.approx(other.p_sign_flip)
    assert one.p_value == pytest.approx(other.p_value)


@settings(max_examples=15, deadline=None)
@given(differences)
def test_the_other_direction_turns_the_verdict(values):
    one, other = alone(values, True).verdict, alone(values, False).verdict
    assert other == OTHER_SIDE.get(one, one)


@settings(max_examples=15, deadline=None)
@given(differences, st.sampled_from([0.25, 2.0, 1024.0]))
def test_units_do_not_matter(values, scale):
    one = alone(values, within=1.0)
    other = alone([scale * value for value in values], within=scale)
    assert (one.verdict, one.p_value, one.p_same) == (other.verdict, other.p_value, other.p_same)
    assert other.interval == pytest.approx(tuple(scale * bound for bound in one.interval))
