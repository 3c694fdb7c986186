"""`engine.precision: auto` is one precision in all runs of an ablation, tasks included."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from launch.ablation.comparability import Outcome, require_same_recipe
from launch.ablation.grid import Grid
from launch.ablation.measure import collect
from launch.ablation.preconditions import with_shared_precision
from pretrain.engine import precision
from pretrain.engine.machine import identity
from pretrain.ranks.world import cores
from tests.unit.launch.ablation.example_runs import find, finish, make_grid

SST2 = {"config": "finetune/sst2.yaml"}


@pytest.fixture
def races(monkeypatch) -> list[dict]:
    """The machines on which a race was run; bf16 wins the first, and loses all others."""
    seen: list[dict] = []

    def run(speed) -> float:
        seen.append(identity(precision.torch.device("cpu")))
        return 4.0 if len(seen) == 1 else 0.5

    monkeypatch.setattr(precision, "race", run)
    monkeypatch.setattr(precision, "can_multiply_bf16", lambda device: True)
    return seen


@pytest.fixture
def grid(tmp_path) -> Grid:
    """Two rows, two seeds, a task and a classical rival."""
    cache = str(tmp_path / "cache")
    task = {**SST2, "fields": {"adapt.cache": cache}}
    fields = {"schedule.max_steps": 8, "data.cache": cache}
    return make_grid(tmp_path, fields=fields, tasks=[task], rivals=["tfidf-svm"])


def precisions(grid: Grid) -> set[str]:
    return {run.config.engine.precision for run in grid.runs() if not run.method}


def test_one_race_decides_for_all_runs(grid, races):
    pinned = with_shared_precision(grid, jobs=1, measures=True)
    assert precisions(grid) == {"auto"} and precisions(pinned) == {"bf16"}
    assert len(races) == 1
    again = with_shared_precision(grid, jobs=1, measures=True)
    assert precisions(again) == {"bf16"} and len(races) == 1


def test_the_race_is_run_by_as_many_threads_as_a_run_has(grid, races):
    with_shared_precision(grid, jobs=2, measures=True)
    assert races[0]["threads"] == max(1, cores() // 2)


def test_runs_that_were_begun_decide_for_the_others(grid, races):
    finish(find(grid, "dynamic", 1), precision="fp32")
    pinned = with_shared_precision(grid, jobs=1, measures=True)
    assert precisions(pinned) == {"fp32"} and not races
    assert precisions(with_shared_precision(grid, jobs=1, measures=False)) == {"fp32"}


def test_nothing_is_measured_for_runs_that_run_elsewhere(grid, races):
    assert with_shared_precision(grid, jobs=1, measures=False) is grid and not races


def test_a_recipe_that_names_its_precision_keeps_it(tmp_path, races):
    grid = make_grid(tmp_path, fields={"engine.precision": "fp32", "schedule.max_steps": 8})
    assert with_shared_precision(grid, jobs=1, measures=True) is grid and not races


def test_a_run_that_auto_decided_otherwise_is_refused(grid, races):
    for run in grid.runs():
        if not run.task:
            finish(run, precision="bf16" if run.seed else "fp32")
    pinned = with_shared_precision(grid, jobs=1, measures=True)
    require_same_recipe(Outcome(find(pinned, "static", 0)))
    with pytest.raises(InputError, match=r"static/seed1: its run has engine\.precision=bf16"):
        require_same_recipe(Outcome(find(pinned, "static", 1)))


def test_precision_itself_can_be_studied(tmp_path):
    axes = {"precision": {name: {"engine.precision": name} for name in ("fp32", "bf16")}}
    grid = make_grid(tmp_path, axes=axes)
    for run in grid.runs():
        finish(run, precision=run.row)
    assert len(collect(grid).rows) == 2
