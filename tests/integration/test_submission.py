"""GLUE's tests, which have no labels, by the real command: answered, not scored, and written as its
server takes them."""

from __future__ import annotations

import csv
import json
import re

import pytest

from tests.published import ROWS, TESTED, overrides, write_glue

pytestmark = pytest.mark.distributed
TINY = [
    *("max_length=48", "schedule.max_epochs=1", "optimizer.learning_rate=3.0e-3"),
    *("batch.micro_sequences=16", "engine.precision=fp32", "run_dir=run"),
]


@pytest.fixture
def tune(launch, tiny_run, tmp_path):
    """`tune("mnli")` fine-tunes the tiny encoder on a task of GLUE; (run folder, console)."""

    def run(task: str):
        options = overrides(task, write_glue(tmp_path, task))
        done = launch(
            "finetune.py", "--config", f"finetune/{task}", f"model={tiny_run}", *TINY, *options
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / "run", done.stdout

    return run


def answers_of(run, part: str) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == part]


def test_mnli_scores_both_development_sets_and_answers_three_tests(tune):
    run, shown = tune("mnli")
    files = {"test": "MNLI-m", "test_mismatched": "MNLI-mm", "diagnostic": "AX"}
    for part, name in files.items():
        rows = answers_of(run, part)
        assert len(rows) == TESTED + (part == "test_mismatched")
        assert not any(row["label"] for row in rows)
        lines = [f"{number}\t{row['prediction']}" for number, row in enumerate(rows)]
        content = (run / "submission" / f"{name}.tsv").read_text()
        assert content.splitlines() == ["index\tprediction", *lines] and content.endswith("\n")
        assert f"answers for GLUE's server: run/submission/{name}.tsv" in shown
    result = json.loads((run / "trials/seed=0/result.json").read_text())
    assert result["test"] is None and list(result["further"]) == ["dev_mismatched"]
    for part, scores in (("dev", result["dev"]), ("dev_mismatched", *result["further"].values())):
        rows = answers_of(run, part)
        right = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
        assert scores["accuracy"] == pytest.approx(right)
    assert len(answers_of(run, "dev_mismatched")) == ROWS + 1
    report = (run / "report.md").read_text()
    assert "| dev_mismatched accuracy |" in report and "### dev_mismatched" in report
    assert "### Some answers on diagnostic" in report
    assert "7 rows are answered, not scored" in report
    scores = json.loads((run / "scores.json").read_text())
    assert list(scores["trials"][0]["further"]) == ["dev_mismatched"]


def test_numbers_of_stsb(tune):
    run, _ = tune("stsb")
    lines = (run / "submission/STS-B.tsv").read_text().splitlines()
    assert len(lines) == TESTED + 1
    for number, (line, row) in enumerate(zip(lines[1:], answers_of(run, "test"))):
        assert re.fullmatch(rf"{number}\t[0-5]\.\d\d\d", line)
        wanted = min(5.0, max(0.0, float(row["prediction"])))
        assert float(line.split("\t")[1]) == pytest.approx(wanted, abs=6e-4)


def test_the_data_report_of_a_task_with_a_test_that_has_no_labels(launch, tmp_path):
    options = overrides("cola", write_glue(tmp_path, "cola"))
    done = launch("explore.py", "--config", "finetune/cola", *options)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "runs/data/cola/report.md").read_text()
    assert "7 test" in report and "so its 7 rows are answered, not scored" in report
