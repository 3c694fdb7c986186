"""What a cell measured, and its one figure for a line of progress."""

from __future__ import annotations

from dataclasses import replace

from finetune.scoring.method_scores import read_scores
from launch.ablation.scores import headline, scores_of
from tests.unit.launch.ablation.runs import find, finish, finish_task, make_grid

SST2 = {"config": "finetune/sst2.yaml"}


def test_a_metric_that_a_run_does_not_have_is_left_out(tmp_path):
    grid = make_grid(tmp_path, metrics=["perplexity", "nsp_accuracy", "parameters"])
    finish(find(grid, "static"), 12.345)
    scores = scores_of(grid.config, find(grid, "static"))
    assert [str(score) for score in scores] == ["perplexity 12.3", "parameters (M) 0.00"]


def test_labels_that_are_merged_for_scores_give_two_tasks(tmp_path):
    grid = make_grid(tmp_path, tasks=[SST2], rivals=["tf-idf"])
    for row, name in {"static": "", "tf-idf": "tf-idf"}.items():
        cell = find(grid, row, task="sst2")
        finish_task(cell, 0.8)
        fine = replace(read_scores(cell.results / name), task="sst5")
        fine.write(cell.results / "unmerged" / name)
        names = [(s.metric.name, s.finetuning_seed) for s in scores_of(grid.config, cell)]
        assert names == [(f"{task}.accuracy", seed) for task in ("sst2", "sst5") for seed in (0, 1)]


def test_the_columns_of_a_task_can_be_named(tmp_path):
    grid = make_grid(tmp_path, tasks=[{**SST2, "metrics": ["macro_f1", "accuracy"]}])
    cell = find(grid, "static", task="sst2")
    finish_task(cell, 0.8)
    assert {s.metric.name for s in scores_of(grid.config, cell)} == {"sst2.accuracy"}


def test_a_headline_is_the_median_of_the_trials(tmp_path):
    grid = make_grid(tmp_path, tasks=[SST2])
    encoder, task = find(grid, "static"), find(grid, "static", task="sst2")
    assert headline(grid.config, encoder) == ""
    finish(encoder, 12.345)
    finish_task(task, 0.8)
    assert headline(grid.config, encoder) == "perplexity 12.3"
    assert headline(grid.config, task) == "sst2 accuracy 80.5"
