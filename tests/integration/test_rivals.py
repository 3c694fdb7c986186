"""The classical methods by their real command, and the table of all methods."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from finetune.baselines.rivals import RIVALS
from finetune.report.method_table import read_scores
from tests.finetuning import TOPICS
from tests.forked import run_script

EASY = [name for name in RIVALS if name != "majority" and not name.startswith("word2vec")]
"""methods that 120 short texts are enough for"""


@pytest.fixture(scope="module")
def scored(tiny_task, tmp_path_factory) -> tuple[Path, str]:
    """(folder, console) of all rivals on the topics task."""
    folder = tmp_path_factory.mktemp("rivals")
    words = ("finetune.py", "--config", tiny_task, "model=classical", "run_dir=out")
    done = run_script(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out/classical", done.stdout


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_leaves_scores_that_its_predictions_bear_out(scored, name):
    folder, _ = scored
    scores, rows = read_scores(folder / name), read_predictions(folder / name)
    assert (scores.method, scores.task, scores.labels) == (name, "topics", sorted(TOPICS))
    assert len(rows) == 30
    right = np.mean([row["label"] == row["prediction"] for row in rows])
    assert scores.values("accuracy")[-1] == pytest.approx(right)
    matrix = np.array(scores.trials[-1].confusion)
    assert matrix.sum() == 30 and matrix.trace() == pytest.approx(30 * right)


@pytest.mark.parametrize("name", EASY)
def test_linear_and_counting_methods_find_the_topics(scored, name):
    folder, _ = scored
    assert read_scores(folder / name).values("accuracy")[0] > 0.8


def test_the_majority_is_one_label_for_all(scored):
    folder, _ = scored
    assert len({row["prediction"] for row in read_predictions(folder / "majority")}) == 1


def test_the_command_prints_the_table_that_it_writes(scored):
    folder, console = scored
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert text in console
    lines = [line for line in text.splitlines() if line.startswith(f"| {'majority'} ")]
    assert len(lines) == 1 and all(f"| {name} |" in text for name in RIVALS)


def test_the_language_models_tell_their_sizes_and_perplexities(scored):
    text = (scored[0] / "n-gram-lm" / "statistics.md").read_text(encoding="utf-8")
    table = text.split("Perplexity")[1]
    rows = [line.split("|")[2:-1] for line in table.splitlines() if line.startswith("| ")][2:]
    values = np.array(rows, dtype=float)
    assert values.argmin(1).tolist() == [0, 1, 2]


def test_folders_of_encoder_and_rivals_make_one_table(scored, tiny_finetuned, launch, tmp_path):
    done = launch("table.py", "--runs", scored[0], tiny_finetuned, "--output", "new/all.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "new/all.md").read_text(encoding="utf-8")
    assert text in done.stdout
    assert text.count("## topics\n") == 1
    for name in ("majority", "tf-idf", tiny_finetuned.name):
        assert text.count(f"| {name} |") == 1
    accuracy = read_scores(tiny_finetuned).values("accuracy")[0]
    line = next(x for x in text.splitlines() if x.startswith(f"| {tiny_finetuned.name} "))
    assert f"| {100 * accuracy:.1f} |" in line


def test_methods_scored_on_other_dev_examples_do_not_mix(scored, tiny_task, launch, tmp_path):
    words = ("--config", tiny_task, "model=majority", "run_dir=other", "task.dev_fraction=0.3")
    assert launch("finetune.py", *words).returncode == 0
    done = launch("table.py", "--runs", scored[0] / "tf-idf", tmp_path / "other/classical")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: task topics: tf-idf and majority were scored on different dev")
