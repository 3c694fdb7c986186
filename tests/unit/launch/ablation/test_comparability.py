"""A table refuses runs that differ in more than it studies, and marks what a reader must know."""

from __future__ import annotations

import json

import pytest

from configs.errors import InputError
from launch.ablation.comparability import Outcome, marks
from launch.ablation.measure import collect
from tests.unit.launch.ablation.example_runs import (
    MASKING,
    change_config,
    find,
    finish,
    finish_task,
    make_grid,
)

SST2 = {"config": "finetune/sst2.yaml"}
TOKENIZERS = {"tokenizer": {"bpe": {}, "unigram": {"tokenizer.kind": "sentencepiece"}}}
TEXTS = {"text": {"all": {}, "half": {"data.sources.0.weight": 0.5}}}


def assert_refused(grid, *words: str) -> None:
    with pytest.raises(InputError) as error:
        collect(grid)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def finish_all(grid, **facts) -> None:
    for run in grid.runs():
        finish(run, **facts)


def test_runs_that_differ_in_the_studied_axis_alone_make_a_table(tmp_path):
    grid = make_grid(tmp_path)
    finish_all(grid)
    change_config(find(grid, "dynamic"), "log_every_steps: 10", "log_every_steps: 7")
    assert len(collect(grid).measurements) == 2 * 4


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("source", "b2"),
        ("precision", "bf16"),
        ("tokenizer", "t2"),
        ("corpus", "corpus2"),
        ("packages", {"torch": "2.12"}),
    ],
)
@pytest.mark.parametrize(("row", "seed"), [("dynamic", 0), ("dynamic", 1), ("static", 1)])
def test_another_code_text_or_arithmetic_is_refused(tmp_path, fact, value, row, seed):
    grid = make_grid(tmp_path)
    finish_all(grid)
    stranger = find(grid, row, seed)
    finish(stranger, **{fact: value})
    said = value["torch"] if fact == "packages" else value
    name = "torch" if fact == "packages" else fact
    assert_refused(grid, f"{name} is ", f" {said} in ", str(stranger.run_dir), "remove the folder")


def test_another_recipe_is_refused(tmp_path):
    grid = make_grid(tmp_path)
    finish_all(grid)
    stranger = find(grid, "dynamic", 1)
    change_config(stranger, "  layers: 4", "  layers: 2")
    assert_refused(grid, str(stranger.run_dir), "model.layers=2", "asks for 4")


def test_a_run_of_another_seed_is_no_pair(tmp_path):
    grid = make_grid(tmp_path)
    finish_all(grid)
    change_config(find(grid, "dynamic", 1), "seed: 1", "seed: 0")
    assert_refused(grid, "dynamic/seed1", "seed=0", "asks for 1")


def test_a_grid_whose_runs_are_of_an_older_recipe_is_refused(tmp_path):
    finish_all(make_grid(tmp_path))
    grid = make_grid(tmp_path, fields={"schedule.max_steps": 16})
    assert_refused(grid, "schedule.max_steps=8", "asks for 16", "choose another run_dir")


def test_another_token_budget_is_refused(tmp_path):
    grid = make_grid(tmp_path)
    finish_all(grid, tokens=40_960.0)
    step = 16 * 128
    finish(find(grid, "dynamic"), tokens=40_960.0 + step)
    collect(grid)
    finish(find(grid, "dynamic"), tokens=40_960.0 + step + 1)
    assert_refused(grid, "tokens is 43,009", "40,960", "dynamic/seed0", "static/seed0")


MINUTES = {"schedule.max_steps": None, "schedule.max_minutes": 1.0}


def test_equal_minutes_need_no_equal_tokens(tmp_path):
    grid = make_grid(tmp_path, fields=MINUTES, seeds=[0])
    finish(find(grid, "static"), tokens=4096.0)
    finish(find(grid, "dynamic"), tokens=8192.0)
    assert len(collect(grid).rows) == 2


@pytest.mark.parametrize(
    "fact, value",
    [("machine", "x86_64, 64 cores"), ("device", "CPU, 8"), ("agreed", {"processor": "other"})],
)
def test_minutes_of_another_machine_are_another_budget(tmp_path, fact, value):
    grid = make_grid(tmp_path, fields=MINUTES, seeds=[0])
    finish(find(grid, "static"))
    finish(find(grid, "dynamic"), **{fact: value})
    name = "processor" if fact == "agreed" else fact
    assert_refused(grid, f"{name} is ", "dynamic/seed0", "static/seed0")
    (tmp_path / "tokens").mkdir()
    by_tokens = make_grid(tmp_path / "tokens", seeds=[0])
    finish_all(by_tokens)
    finish(find(by_tokens, "dynamic"), **{fact: value})
    assert len(collect(by_tokens).rows) == 2


def test_minutes_may_be_studied_beside_steps(tmp_path):
    budgets = {"budget": {"steps": {}, "minutes": MINUTES}}
    grid = make_grid(tmp_path, axes=budgets, seeds=[0])
    finish(find(grid, "steps"), machine="x86_64, 2 cores")
    finish(find(grid, "minutes"), machine="x86_64, 2 cores")
    assert len(collect(grid).rows) == 2


def test_a_studied_budget_is_no_stranger(tmp_path):
    lengths = {"length": {"short": {}, "long": {"schedule.max_steps": 16}}}
    grid = make_grid(tmp_path, axes=lengths, seeds=[0])
    finish(find(grid, "short"), tokens=4096.0)
    finish(find(grid, "long"), tokens=8192.0)
    assert len(collect(grid).rows) == 2


@pytest.mark.parametrize("axes", [TOKENIZERS, TEXTS])
def test_fingerprints_follow_a_studied_tokenizer_or_text_but_not_the_seed(tmp_path, axes):
    grid = make_grid(tmp_path, axes=axes)
    finish_all(grid)
    _, other = grid.rows
    for seed in (0, 1):
        finish(find(grid, other, seed), tokenizer="t2", corpus="corpus2")
    collect(grid)
    finish(find(grid, other, 1), tokenizer="t3", corpus="corpus2")
    assert_refused(grid, "tokenizer is t3", "t2")


def test_tasks_that_differ_are_refused(tmp_path):
    grid = make_grid(tmp_path, axes=MASKING, seeds=[0], tasks=[SST2])
    finish_all_with_tasks(grid)
    collect(grid)
    change_config(find(grid, "dynamic", task="sst2"), "max_length: 128", "max_length: 64")
    assert_refused(grid, "max_length=64", "asks for 128")
    finish_task(find(grid, "dynamic", task="sst2"), split="another")
    assert_refused(grid, "different dev examples")
    finish_task(find(grid, "dynamic", task="sst2"), source="b2")
    assert_refused(grid, "source is b2")


def finish_all_with_tasks(grid) -> None:
    for run in grid.runs():
        (finish_task if run.task else finish)(run)


def test_what_is_not_finished_is_left_out_and_marked(tmp_path):
    grid = make_grid(tmp_path)
    finish(find(grid, "static"))
    broken = find(grid, "dynamic")
    finish(broken, precision="bf16")
    (broken.run_dir / "status").write_text("failed\n")
    results = collect(grid)
    assert {m.row for m in results.measurements} == {"static"}
    assert results.rows[1].marks == (
        "seed 0: not finished (failed)",
        "seed 1: not finished (not started)",
    )


def test_undertrained_runs_are_marked(tmp_path):
    grid = make_grid(tmp_path, fields={"schedule": {"max_steps": None, "max_tokens": 5000}})
    finish_all(grid, tokens=5000.0)
    finish(find(grid, "dynamic", 1), tokens=4000.0)
    assert collect(grid).rows[1].marks == ("seed 1: undertrained (80% of what was planned)",)


def test_skipped_steps_and_a_resume_by_other_code_are_marked(tmp_path):
    grid = make_grid(tmp_path)
    run = find(grid, "static")
    starts = [
        {"step": 0, "source": "old", "time": 0.0},
        {"step": 0, "source": "a1", "time": 1.0},
        {"step": 4, "source": "b2", "time": 2.0},
    ]
    finish(run, starts=starts)
    with (run.run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "skipped", "step": 5, "time": 2.5, "total": 3}) + "\n")
    assert marks(Outcome(run)) == [
        "seed 0: 3 steps skipped",
        "seed 0: resumed with another code (a1, b2)",
    ]


def test_a_run_that_ends_on_the_plateau_is_marked(tmp_path):
    run = find(make_grid(tmp_path), "static")
    finish(run, 6.75)  # its loss as well
    assert marks(Outcome(run)) == []
    with (run.run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "baseline", "step": 0, "time": 0.0, "unigram_loss": 7.0}))
    (mark,) = marks(Outcome(run))
    assert mark == "seed 0: ends on the plateau, 0.25 nats under the unigram distribution's 7.00"
