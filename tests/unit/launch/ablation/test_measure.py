"""What a run measured, and its one figure for a line of progress."""

from __future__ import annotations

import json
from dataclasses import replace

from finetune.report.method_table import read_scores
from launch.ablation.measure import headline, measure
from tests.unit.launch.ablation.example_runs import TOKENS, find, finish, finish_task, make_grid

WORDS = {"kind": "words", "step": 8, "word_bits_per_byte": 1.25, "words": 3}
SST2 = {"config": "finetune/sst2.yaml"}


def test_a_metric_that_a_run_does_not_have_is_left_out(tmp_path):
    grid = make_grid(tmp_path, metrics=["perplexity", "nsp_accuracy", "parameters"])
    finish(find(grid, "static"), 12.345)
    measurements = measure(find(grid, "static"), grid.config.metrics)
    assert [str(measurement) for measurement in measurements] == [
        "perplexity 12.3",
        "parameters (M) 0.00",
    ]


def test_figures_of_words_and_of_the_plateau_stand_in_records_of_their_own(tmp_path):
    """The plateau of a run from before it was recorded is found in its other records."""
    names = ["word_bits_per_byte", "plateau_left_at_tokens"]
    grid = make_grid(tmp_path, metrics=names)
    run = find(grid, "static")
    finish(run, 6.0)
    assert list(measure(run, names)) == []
    with run.folder.metrics.open("a", encoding="utf-8") as stream:
        for record in ({"kind": "baseline", "step": 0, "unigram_loss": 7.0}, WORDS):
            stream.write(json.dumps(record | {"time": 4.0}) + "\n")
    assert [m.value for m in measure(run, names)] == [1.25, TOKENS]


def test_labels_that_are_merged_for_scores_give_two_tasks(tmp_path):
    grid = make_grid(tmp_path, tasks=[SST2], rivals=["tf-idf"])
    for row, name in {"static": "", "tf-idf": "tf-idf"}.items():
        run = find(grid, row, task="sst2")
        finish_task(run, 0.8)
        fine = replace(read_scores(run.status_folder.path / name), task="sst5")
        fine.write(run.status_folder.path / "unmerged" / name)
        names = [(m.metric.name, m.finetuning_seed) for m in measure(run, [])]
        assert names == [(f"{task}.accuracy", seed) for task in ("sst2", "sst5") for seed in (0, 1)]


def test_the_columns_of_a_task_can_be_named(tmp_path):
    grid = make_grid(tmp_path, tasks=[{**SST2, "metrics": ["macro_f1", "accuracy"]}])
    run = find(grid, "static", task="sst2")
    finish_task(run, 0.8)
    assert {m.metric.name for m in measure(run, [])} == {"sst2.accuracy"}


def test_a_headline_is_the_median_of_the_trials(tmp_path):
    grid = make_grid(tmp_path, tasks=[SST2])
    encoder, task = find(grid, "static"), find(grid, "static", task="sst2")
    assert headline(encoder, grid.config.metrics) == ""
    finish(encoder, 12.345)
    finish_task(task, 0.8)
    assert headline(encoder, grid.config.metrics) == "perplexity 12.3"
    assert headline(task, grid.config.metrics) == "sst2 accuracy 80.5"
