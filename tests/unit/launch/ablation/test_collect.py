"""From run folders to results, and to hours."""

from __future__ import annotations

import json

import pytest

from configs.system.run_lock import take
from launch.ablation.estimate import dry_run, minutes_of
from launch.ablation.measure import collect
from launch.ablation.report.writer import write_table
from tests.unit.launch.ablation.example_runs import find, finish, finish_task, make_grid

SST2 = {"config": "finetune/sst2.yaml"}


def test_results_hold_every_number_with_its_run(tmp_path):
    grid = make_grid(
        tmp_path,
        tasks=[SST2],
        rivals=["tf-idf"],
        reference={"static": {"sst2.accuracy": 92.5}, "at another scale": {"perplexity": 4.0}},
        source="RoBERTa, table 1",
    )
    for number, run in enumerate(grid.runs()):
        finish_task(run, number / 100) if run.task else finish(run, 100.0 + number)
    results = collect(grid)
    assert (results.name, results.scale, results.baseline) == ("grid", "tiny", "static")
    assert [row.name for row in results.rows] == ["static", "dynamic", "tf-idf"]
    assert results.rows[0].reference == {"sst2.accuracy": 92.5}
    assert results.rows[0].settings == {"mask_epochs": 10} and not results.rows[0].marks
    assert [m.name for m in results.metrics] == ["perplexity", "parameters", "sst2.accuracy"]
    encoder = find(grid, "dynamic", 1)
    numbers = {(m.metric.name, m.finetuning_seed): m.value for m in of(results, "dynamic", 1)}
    assert numbers[("parameters", None)] == 1000
    assert numbers[("sst2.accuracy", 1)] == pytest.approx(numbers[("sst2.accuracy", 0)] + 0.01)
    assert results.pretraining_runs["dynamic", 1] == encoder.run_dir
    assert {m.run_dir for m in of(results, "dynamic", 1)} == {
        encoder.run_dir,
        encoder.run_dir / "tasks" / "sst2",
    }
    assert len(of(results, "tf-idf", 0)) == 2
    assert results.notes[0].startswith("9 of 9 runs completed")
    assert "source a1" in results.notes[1] and "4,096 to 4,096 tokens" in results.notes[3]


def of(results, row: str, seed: int) -> list:
    return [m for m in results.measurements if (m.row, m.seed) == (row, seed)]


def test_a_tuned_row_tells_its_value_and_shows_no_other(tmp_path):
    grid = make_grid(tmp_path, tune={"optimizer.learning_rate": [0.001, 0.002]})
    for row, best in {"static": 0.002, "dynamic": 0.001}.items():
        for run in grid.candidates(row):
            finish(run, 50.0 if run.tuned_value == best else 60.0)
    results = collect(grid)
    assert [row.chosen for row in results.rows] == [
        {"optimizer.learning_rate": 0.002},
        {"optimizer.learning_rate": 0.001},
    ]
    values = [m.value for m in results.measurements if m.metric.name == "perplexity"]
    assert values == [50.0, 50.0]


def test_nothing_yet_is_a_result_too(tmp_path):
    results = collect(make_grid(tmp_path))
    assert not results.measurements and len(results.rows) == 2


def test_a_table_lies_beside_its_runs_and_is_safe_where_that_is_asked_for(tmp_path, console):
    axes = {"masking": {"=static": {"mask_epochs": 10}, "dynamic": {}}}
    grid = make_grid(tmp_path, axes=axes)
    for run in grid.runs():
        finish(run)
    assert "perplexity" in write_table(grid, csv_safe=False)
    table = grid.folder / "table.csv"
    assert ",=static," in table.read_text() and "table.csv" not in console.readouterr().err
    write_table(grid, csv_safe=True)
    assert ",'=static," in table.read_text() and "table.csv: " in console.readouterr().err


def test_minutes_are_counted_from_each_start_to_its_last_sign_of_life(tmp_path):
    run = find(make_grid(tmp_path), "static")
    starts = [{"step": 0, "source": "a1", "time": t} for t in (-100.0, 1.0)]
    finish(run, starts=starts)
    (run.run_dir / "status").unlink()
    assert minutes_of(run) == pytest.approx(2 / 60)


def test_a_dry_run_tells_states_and_where_hours_are_from(tmp_path):
    grid = make_grid(tmp_path, tasks=[SST2])
    static, dynamic = find(grid, "static"), find(grid, "dynamic")
    finish(static)
    (dynamic.run_dir).mkdir(parents=True)
    (dynamic.run_dir / "status").write_text("running\n")
    lock = take(find(grid, "static", 1).run_dir)
    text = dry_run(grid.distinct_runs())
    lock.release()
    states = {line[:48].strip(): line[48:62].strip() for line in text.splitlines()[1:9]}
    assert states["static, seed 0"] == "completed"
    assert states["dynamic, seed 0"] == "broken off"
    assert states["static, seed 1"] == "running"
    assert states["static, seed 0, sst2"] == "to do"
    assert "median of this ablation's completed" in text and "of those that are done" in text
    assert "4 runs are not counted" in text


def test_rows_tell_how_their_held_out_text_is_measured(tmp_path):
    """A recipe's measure counts as a row's own does; a rival pretrains nothing."""
    axes = {"format": {"full": {}, "document": {"input_format": "doc-sentences"}}}
    fields = {"schedule.max_steps": 8}
    rows = collect(make_grid(tmp_path, axes=axes, fields=fields)).rows
    formats = [row.measure["evaluation.input_format"] for row in rows]
    assert formats == ["full-sentences", "doc-sentences"]
    fields |= {"evaluation.input_format": "segment-pair", "evaluation.max_length": 64}
    tasks = dict(tasks=[SST2], rivals=["tf-idf"])
    *rows, rival = collect(make_grid(tmp_path, axes=axes, fields=fields, **tasks)).rows
    assert rows[0].measure == rows[1].measure and not rival.measure
    assert rows[0].measure["evaluation.input_format"] == "segment-pair"
    assert rows[0].measure["evaluation.max_length"] == 64


def test_runs_on_the_plateau_are_told_by_their_seeds(tmp_path):
    grid = make_grid(tmp_path)
    for run in grid.runs():
        finish(run, 6.75 if (run.row, run.seed) == ("dynamic", 1) else 6.0)
        with run.folder.metrics.open("a", encoding="utf-8") as stream:
            baseline = {"kind": "baseline", "step": 0, "time": 0.0, "unigram_loss": 7.0}
            stream.write(json.dumps(baseline) + "\n")
    assert {row.name: row.on_plateau for row in collect(grid).rows} == {
        "static": (),
        "dynamic": (1,),
    }
    (find(grid, "dynamic", 1).run_dir / "status").write_text("running\n")
    assert not any(row.on_plateau for row in collect(grid).rows)
