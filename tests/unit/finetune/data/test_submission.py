"""Answer files for GLUE's server: names, labels, and a line for every row of the test file."""

from __future__ import annotations

import csv
import re

import pytest

from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config, shipped_configs
from configs.task_schema import SUBMISSIONS
from finetune.baselines.rivals import RivalTask, run_rival
from finetune.data.submission import FORMS, read_predictions, submission, write_predictions
from finetune.data.texts import read_text_splits
from tests.published import GLUE, TESTED, overrides, write_glue


def test_every_file_that_the_server_wants_has_a_task_that_writes_it():
    """Eleven files: nine tasks, MNLI twice, and the diagnostic set."""
    written = [
        task
        for name in shipped_configs("finetune")
        if name not in ("grid.yaml", "stsb_csv.yaml")
        for task in load_config(FinetuneConfig, f"finetune/{name}").task.submission.values()
    ]
    assert sorted(written) == sorted(SUBMISSIONS) == sorted(FORMS) and len(FORMS) == 11


def test_predictions_are_what_was_answered_or_safe_for_spreadsheets(tmp_path, caplog):
    rows = [{"id": "=1+1", "label": "-", "prediction": -0.5}, {"id": "a\r\nb", "prediction": "-2"}]
    path = tmp_path / "predictions.csv"
    write_predictions(path, rows, csv_safe=False)
    as_read = read_predictions(path)
    assert as_read == [
        {"id": "=1+1", "label": "-", "prediction": "-0.5"},
        {"id": "a\r\nb", "label": "", "prediction": "-2"},
    ]
    content = path.read_bytes()
    write_predictions(path, as_read, csv_safe=False)
    assert path.read_bytes() == content, "written again it must be the same"
    assert not caplog.messages
    write_predictions(path, rows, csv_safe=True)
    with path.open(encoding="utf-8", newline="") as file:
        safe = [list(row.values()) for row in csv.DictReader(file)]
    assert safe == [["'=1+1", "'-", "-0.5"], ["a\r\nb", "", "-2"]]
    assert caplog.messages == [
        f"{path}: 2 cells begin as formulas do and got an apostrophe in front"
    ]


@pytest.mark.parametrize(
    ("answer", "written"),
    [("2.34567", "2.346"), ("-0.2", "0.000"), ("5.3", "5.000"), ("3", "3.000"), ("1e-9", "0.000")],
)
def test_numbers_have_three_decimals_and_lie_between_0_and_5(answer, written):
    assert submission("STS-B", [answer]) == f"index\tprediction\n0\t{written}\n"


def test_labels_stand_under_their_rows_numbers():
    assert submission("RTE", ["entailment", "not_entailment"]) == (
        "index\tprediction\n0\tentailment\n1\tnot_entailment\n"
    )


FILES = {
    "cola": {"CoLA": TESTED},
    "sst2": {"SST-2": TESTED},
    "mrpc": {"MRPC": TESTED},
    "qqp": {"QQP": TESTED},
    "mnli": {"MNLI-m": TESTED, "MNLI-mm": TESTED + 1, "AX": TESTED},
    "qnli": {"QNLI": TESTED},
    "rte": {"RTE": TESTED},
    "wnli": {"WNLI": TESTED},
}
ALLOWED = {
    "MNLI-m": "entailment|neutral|contradiction",
    "MNLI-mm": "entailment|neutral|contradiction",
    "AX": "entailment|neutral|contradiction",
    "QNLI": "entailment|not_entailment",
    "RTE": "entailment|not_entailment",
}


@pytest.mark.parametrize("task", FILES)
def test_a_classical_method_answers_the_tests_of_every_task_it_can_learn(tmp_path, task):
    assert set(GLUE) == {*FILES, "stsb"}
    folder = write_glue(tmp_path, task)
    config = load_config(FinetuneConfig, f"finetune/{task}", overrides(task, folder))
    splits = read_text_splits(config.task)
    (trial,) = run_rival("naive-bayes", RivalTask(tmp_path, config, splits)).trials
    found = {p.stem: p.read_text() for p in (tmp_path / "naive-bayes/submission").iterdir()}
    assert {name: content.count("\n") - 1 for name, content in found.items()} == FILES[task]
    for name, content in found.items():
        header, *lines = content.splitlines()
        assert header == "index\tprediction"
        for number, line in enumerate(lines):
            assert re.fullmatch(rf"{number}\t({ALLOWED.get(name, '0|1')})", line)
    assert trial.test is None and list(trial.further) == ["dev_mismatched"] * (task == "mnli")


def test_a_test_file_with_labels_is_scored_and_not_sent(tmp_path):
    folder = write_glue(tmp_path, "sst2")
    options = [f"task.folder={folder}", "task.test=dev.tsv"]
    config = load_config(FinetuneConfig, "finetune/sst2", options)
    task = RivalTask(tmp_path, config, read_text_splits(config.task))
    (trial,) = run_rival("majority", task).trials
    assert trial.test["accuracy"] == 0.5
    assert not (tmp_path / "majority/submission").exists()
