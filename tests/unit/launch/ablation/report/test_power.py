"""What seeds can tell, against simulated tables and a published one."""

from __future__ import annotations

import numpy as np
import pytest

from configs.errors import InputError
from launch.ablation.report.power import least_effect, outlook, seeds_needed, spreads, verdicts_of
from launch.ablation.report.statistics import holm, t_test
from launch.ablation.report.verdicts import ALPHA
from tests.unit.launch.ablation.example_runs import find, finish, make_grid

FOUND = {("static", 0): 100.0, ("dynamic", 0): 96.0, ("static", 1): 110.0, ("dynamic", 1): 104.0}


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_sizes_of_samples_are_cohens(effect, seeds):
    """One t test of paired differences at 80 %, two-sided 5 %: what G*Power and R's power.t.test
    give for Cohen's small, medium and large effects."""
    assert seeds_needed(effect, 1) == seeds
    assert least_effect(seeds, 1) <= effect < least_effect(seeds - 1, 1)


def test_what_few_seeds_find_among_eight_rows():
    found = [round(least_effect(seeds, 8), 1) for seeds in (3, 5, 8, 10)]
    assert found == [9.3, 3.0, 1.7, 1.4]


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("tables", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_promised_share_of_tables_finds_it(tables, seeds):
    draw = np.random.default_rng(seeds)
    rows = draw.normal(size=(tables, 8, seeds))
    rows[:, 0] += least_effect(seeds, 8)
    share = (holm(t_test(rows))[:, 0] <= ALPHA).mean()
    assert share == pytest.approx(0.8, abs=0.03 if tables == 2_000 else 0.01)


def test_effects_too_small_for_any_number_of_seeds_say_so():
    assert seeds_needed(0.001, 1) is None
    assert seeds_needed(1_000.0, 1) == 3


def test_before_any_run_the_unit_is_the_standard_deviation(tmp_path):
    grid = make_grid(tmp_path, metrics=["perplexity", "mlm_loss", "parameters"])
    assert verdicts_of(grid) == 2 and spreads(grid) == []
    said = outlook(grid, "0.5")
    assert "2 verdicts after Holm's correction" in said and "no two completed pairs" in said
    assert said.endswith(f"--effect 0.5: {seeds_needed(0.5, 2)} seeds")


def test_completed_runs_tell_the_metrics_own_unit(tmp_path):
    grid = make_grid(tmp_path)
    for (row, seed), perplexity in FOUND.items():
        finish(find(grid, row, seed), perplexity)
    (spread,) = spreads(grid)
    assert spread.sd == pytest.approx(np.std([-4.0, -6.0], ddof=1)) and spread.freedom == 1
    lines = outlook(grid, f"perplexity={spread.sd / 2}").splitlines()
    (line,) = [line for line in lines if line.startswith("perplexity")]
    assert line.split()[-4:] == [f"{least_effect(n, 1) * spread.sd:.1f}" for n in (3, 5, 8, 10)]
    assert lines[-1].endswith(": 34 seeds")


def test_runs_that_do_not_compare_leave_the_outlook_in_deviations(tmp_path):
    grid = make_grid(tmp_path)
    for number, ((row, seed), perplexity) in enumerate(FOUND.items()):
        finish(find(grid, row, seed), perplexity, source=f"a{number}")
    assert "sd: not known in any metric's unit (source is" in outlook(grid)


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ("big", "--effect big is no difference: write a number of standard deviations"),
        ("0", "--effect 0 is no difference"),
        ("nan", "--effect nan is no difference"),
        ("perplexity=5", "no completed runs tell how far perplexity differs between seeds"),
    ],
)
def test_effects_that_cannot_be_are_refused(effect, said, tmp_path):
    with pytest.raises(InputError, match=said):
        outlook(make_grid(tmp_path), effect)
