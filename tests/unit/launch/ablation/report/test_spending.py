"""Looks that are paid for: published boundaries, and simulated tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from launch.ablation.report.spending import boundaries, sequential_p
from launch.ablation.report.statistics import holm, t_test
from launch.ablation.report.verdicts import ALPHA, Sample, after_looks, evidence

LOOKS = tuple(range(3, 11))


def test_boundaries_are_the_published_ones():
    """Five equal looks at 5 %, two-sided: the ldbounds package, and Reboussin et al. (2000)."""
    expected = [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]
    assert boundaries(0.025, (1, 2, 3, 4, 5)) == pytest.approx(expected, abs=2e-4)


def test_a_single_look_costs_nothing():
    assert boundaries(0.025, (10,)) == pytest.approx([norm.isf(0.025)])
    assert sequential_p([0.01], (10,)) == pytest.approx(0.01, rel=0.02)


def test_one_look_that_is_enough_decides():
    limits = norm.sf(boundaries(0.025, LOOKS))
    for look, limit in enumerate(limits):
        others = [0.4] * (look + 1)
        assert sequential_p([*others[:-1], 0.98 * limit], LOOKS) < 0.025
        assert sequential_p([*others[:-1], 1.02 * limit], LOOKS) > 0.025


@pytest.mark.parametrize("tables", [1_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_looking_after_every_seed_is_paid_for(tables):
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(tables, 8, 10)) - draw.normal(size=(tables, 1, 10))
    p = np.stack([t_test(rows[..., :count]) for count in LOOKS], -1)
    together = np.minimum(1, 2 * sequential_p(p / 2, LOOKS))
    assert (p <= ALPHA).any(-1).mean() > 0.15  # what is to be paid for
    assert (together <= ALPHA).mean() < 0.062
    assert (holm(together) <= ALPHA).any(-1).mean() < (0.064 if tables == 1_000 else 0.056)


def test_a_sample_is_looked_at_in_the_order_of_its_seeds():
    values = [1.0, 1.2, 0.9, 1.1, 1.05, -3.0]
    early = after_looks(Sample(values, True, 0.5), 10)
    assert early.different == pytest.approx(
        after_looks(Sample(values[:5], True, 0.5), 10).different
    )
    assert early.different < 0.05 < evidence(Sample(values, True)).different
    assert after_looks(Sample(values[::-1], True), 10).different > 0.5
    assert early.same == 1.0


def test_equal_rows_are_found_to_be_the_same():
    assert after_looks(Sample([0.0] * 3, True, 0.1), 10).same < 1e-6
