"""Seeds that are added until a table is decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from configs.errors import InputError
from launch.ablation.grid import Grid
from launch.ablation.report import further_seeds, phrasing
from launch.ablation.report.further_seeds import count_open, with_seeds_needed
from launch.ablation.report.result_table import build
from tests.unit.launch.ablation.example_runs import finish, make_grid
from tests.unit.launch.ablation.report.example_results import EFFECTS


@pytest.fixture
def grid(tmp_path) -> Grid:
    return make_grid(tmp_path, seeds=[4, 2], most_seeds=5)


@pytest.fixture
def open_after(monkeypatch):
    """Say after how many seeds the table is decided; two verdicts are open until then."""

    def decide(seeds: int) -> None:
        monkeypatch.setattr(
            further_seeds, "count_open", lambda grid: 2 * (len(grid.config.seeds) < seeds)
        )

    return decide


def train(grid: Grid) -> Grid:
    """Finish runs until no more seeds are needed."""
    while True:
        for run in grid.distinct_runs():
            finish(run)
        if (more := with_seeds_needed(grid)) is grid:
            return grid
        grid = more


def test_nothing_is_added_before_all_runs_are_completed(grid, open_after):
    open_after(5)
    assert with_seeds_needed(grid) is grid
    for run in grid.distinct_runs()[1:]:
        finish(run)
    assert with_seeds_needed(grid) is grid


@pytest.mark.parametrize(("decided", "seeds"), [(2, [4, 2]), (3, [4, 2, 5]), (9, [4, 2, 5, 6, 7])])
def test_seeds_are_added_until_the_table_is_decided_or_has_the_most(
    decided, seeds, grid, open_after
):
    open_after(decided)
    assert train(grid).config.seeds == seeds
    assert with_seeds_needed(grid).config.seeds == seeds  # a later start finds them again


def test_none_are_added_where_none_are_wished(tmp_path, open_after):
    open_after(9)
    grid = make_grid(tmp_path)
    assert train(grid) is grid


def test_open_verdicts_are_those_of_rows_that_pretrain(results, monkeypatch):
    class Rows:
        rows = EFFECTS

    monkeypatch.setattr(further_seeds, "collect", lambda grid: results)
    assert count_open(Rows) == 5
    Rows.rows = [row for row in EFFECTS if row != "dynamic"]
    assert count_open(Rows) == 4


def test_looks_are_named_where_there_are_several(results):
    table = build(replace(results, most_seeds=10))
    assert "Seeds were added until every verdict was decided, 10 at" in phrasing.rule(table)
    once = build(results).rows[1].cells["perplexity"].difference
    looked = table.rows[1].cells["perplexity"].difference
    assert looked.p_value == once.p_value and looked.p_holm > once.p_holm


@pytest.mark.parametrize(("seeds", "most"), [([0, 1], 2), ([0, 1, 2, 3], 3)])
def test_fewer_than_there_are_or_a_verdict_takes_are_refused(seeds, most, tmp_path):
    with pytest.raises(
        InputError, match=rf"most_seeds={most} must be at least {max(3, len(seeds))}"
    ):
        make_grid(tmp_path, seeds=seeds, most_seeds=most)
