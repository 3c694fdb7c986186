"""The whole of fine-tuning by its command: what it leaves behind, and that it can be cut."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

from configs.system.run_folder import RunFolder
from tests.conftest import Command, deepspeed
from tests.forked import run_script

pytestmark = pytest.mark.distributed


def result(run: Path, trial: str) -> dict:
    return json.loads((run / "trials" / trial / "result.json").read_text(encoding="utf-8"))


def test_two_ranks_leave_a_whole_report_and_score_like_one(tiny_task, tiny_finetuned, tmp_path):
    done = Command(
        *("finetune.py", "--config", tiny_task, "run_dir=both", "seeds=[0, 1, 2]"),
        cwd=tmp_path,
        launcher=deepspeed(2),
    ).finish()
    assert done.returncode == 0, done.stderr
    run = tmp_path / "both"
    alone, together = result(tiny_finetuned, "seed=0"), result(run, "seed=0")
    assert together["dev"] == pytest.approx(alone["dev"], abs=0.04)
    assert together["dev"]["accuracy"] > 0.8
    assert (run / "status").read_text().strip() == "completed"
    report = (run / "report.md").read_text(encoding="utf-8")
    for part in ("of 3 seeds", "precision", "confusion matrix", "calibration", "confident errors"):
        assert part in report, part
    for place in (report, done.stdout):
        assert "longer than max_length=32 tokens" in place
    for name in ("confusion_dev", "calibration_dev", "trials"):
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert {r["trial"] for r in RunFolder(run).read_metrics()} == {
        "seed=0",
        "seed=1",
        "seed=2",
    }
    assert list((run / "tensorboard").rglob("events*"))
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "dev"]
    right = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    best = json.loads((run / "checkpoints/best/finetuned.json").read_text(encoding="utf-8"))
    assert right == pytest.approx(best["scores"]["dev"]["accuracy"])


def test_a_killed_run_resumes_with_the_trials_that_are_left(tiny_task, tmp_path):
    words = ("finetune.py", "--config", tiny_task, "run_dir=run", "seeds=[0, 1]")
    first = Command(*words, cwd=tmp_path)
    finished = tmp_path / "run/trials/seed=0/result.json"
    while not finished.is_file():
        assert first.process.poll() is None, first.finish().stderr
        time.sleep(0.05)
    first.kill()
    before = finished.read_bytes()
    done = run_script(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "seed=0  step" not in done.stdout and "seed=1  step" in done.stdout
    assert finished.read_bytes() == before
    assert "seed=1" in (tmp_path / "run/report.md").read_text(encoding="utf-8")


def test_a_run_whose_time_is_over_asks_for_another_start(tiny_task, tmp_path):
    words = ("finetune.py", "--config", tiny_task, "run_dir=run")
    done = run_script(*words, "safety.stop_after_minutes=0.0001", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "leaving at step 1 (seed=0, safety.stop_after_minutes=0.0001 are over)" in done.stdout
    assert (tmp_path / "run/status").read_text() == "preempted\n"
    assert (tmp_path / "run/REQUEUE").read_text().startswith("1 seed=0")
    again = run_script(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run/status").read_text() == "completed\n"
    assert not (tmp_path / "run/REQUEUE").exists()


def test_grid_patience_layer_decay_and_adaptation_together(tiny_task, tmp_path):
    done = run_script(
        *("finetune.py", "--config", tiny_task, "run_dir=run"),
        *(
            "grid={optimizer.learning_rate: [0.000001, 0.005]}",
            "adapt.epochs=2",
            "adapt.sequences=8",
            "adapt.cache=cache",
        ),
        *("layer_decay=0.8", "patience=1", "schedule.max_epochs=6", "head.loss=focal"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert (run / "adapt/export/model.safetensors").is_file()
    adapted = [r["mlm_loss"] for r in RunFolder(run / "adapt").read_metrics() if "mlm_loss" in r]
    assert adapted[-1] < adapted[0]
    slow, fast = (
        result(run, "learning_rate=1e-06_seed=0"),
        result(run, "learning_rate=0.005_seed=0"),
    )
    assert slow["dev"]["accuracy"] < fast["dev"]["accuracy"]
    evaluations = [
        r
        for r in RunFolder(run / "trials/learning_rate=1e-06_seed=0").read_metrics()
        if r["kind"] == "dev"
    ]
    assert len(evaluations) < 6, "patience=1 did not stop a trial that learns nothing"


def test_the_encoder_of_a_finetuned_run_is_finetuned_again(tiny_task, tiny_finetuned, tmp_path):
    done = run_script(
        *("finetune.py", "--config", tiny_task, f"model={tiny_finetuned}", "run_dir=run"),
        *("schedule.max_epochs=1", "log_every_steps=1"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert result(tmp_path / "run", "seed=0")["dev"]["accuracy"] > 0.8
    refused = run_script(
        *("finetune.py", "--config", tiny_task, f"model={tiny_finetuned}", "adapt.epochs=1"),
        cwd=tmp_path,
    )
    assert refused.returncode == 2 and "adapt.epochs=0" in refused.stderr


def test_labels_that_are_merged_for_scores_only(tiny_task, tmp_path):
    done = run_script(
        *("finetune.py", "--config", tiny_task, "run_dir=run", "task.merge={loop: file}"),
        *("task.labels=[file, number]", "task.unmerged=topics3"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "run/scores.json").read_text(encoding="utf-8"))
    fine = json.loads((tmp_path / "run/unmerged/scores.json").read_text(encoding="utf-8"))
    assert scores["labels"] == ["file", "number"]
    assert sorted(fine["labels"]) == ["file", "loop", "number"] and fine["task"] == "topics3"
    assert scores["trials"][0]["dev"]["accuracy"] >= fine["trials"][0]["dev"]["accuracy"]
