"""The classical methods by their real command, and the table of all methods."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config
from finetune.baselines import rivals
from finetune.baselines.rivals import RIVALS, RivalTask, find_rivals, joined_texts, run_rival
from finetune.data.example import Splits, TextExample
from finetune.data.texts import read_text_splits
from finetune.report.method_table import comparison, read_scores, split_fingerprint
from launch.finetune import main
from pretrain.ranks import world
from tests.conftest import Command
from tests.finetuning import TOPICS

EASY = [name for name in RIVALS if name != "majority" and not name.startswith("word2vec")]
"""methods that 120 short texts are enough for"""


@pytest.fixture(scope="module")
def scored(tiny_task, tmp_path_factory) -> tuple[Path, str]:
    """(folder, console) of all rivals on the topics task."""
    folder = tmp_path_factory.mktemp("rivals")
    words = ("finetune.py", "--config", tiny_task, "model=classical", "run_dir=out")
    done = Command(*words, cwd=folder).finish()
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


@pytest.fixture
def baselines(tiny_task, tmp_path, monkeypatch):
    """`baselines("majority", "a.b=c")` runs the command's main on the topics task."""

    def run(names: str, *overrides: str) -> Path:
        words = ("--config", str(tiny_task), f"run_dir={tmp_path}/out", f"model={names}")
        monkeypatch.setattr("sys.argv", ["finetune.py", *words, *overrides])
        with mock.patch.dict(os.environ):
            try:
                main()
            finally:
                world.stop()
        return tmp_path / "out/classical"

    return run


def test_methods_scored_on_other_dev_examples_do_not_mix(scored, launch, baselines):
    other = baselines("majority", "task.dev_fraction=0.3")
    done = launch("table.py", "--runs", scored[0] / "tf-idf", other)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: task topics: tf-idf and majority were scored on different dev")


def test_a_folder_without_scores_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"no scores\.json there"):
        comparison([tmp_path])


def test_a_damaged_file_of_scores_is_named(scored, tmp_path):
    folder = shutil.copytree(scored[0] / "majority", tmp_path / "majority")
    (folder / "scores.json").write_text("{}")
    with pytest.raises(InputError, match=r"scores\.json is damaged"):
        comparison([folder])


def example(number: int, raw: str) -> TextExample:
    return TextExample("", str(number), raw.lower(), None, 0, raw)


def test_the_same_row_numbers_of_another_file_are_another_split():
    ours = [example(1, "One"), example(2, "Two")]
    assert split_fingerprint(ours) == split_fingerprint(ours[::-1])
    cleaned = [replace(e, text="") for e in ours]
    assert split_fingerprint(ours) == split_fingerprint(cleaned)
    assert split_fingerprint(ours) != split_fingerprint([ours[0], example(2, "Three")])


def test_merged_labels_are_what_rivals_learn_and_are_scored_by(baselines):
    """With `task.unmerged` too: encoders stand in the table of merged labels beside them."""
    merge = "task.merge={loop: code, file: code}"
    folder = baselines("majority,naive-bayes", merge, "task.unmerged=three")
    assert read_scores(folder / "naive-bayes").labels == ["code", "number"]
    assert read_scores(folder / "majority").values("accuracy") == [20 / 30]
    assert read_scores(folder / "unmerged/naive-bayes").task == "three"
    assert read_scores(folder / "unmerged/naive-bayes").labels == ["file", "loop", "number"]


def test_rivals_do_not_answer_questions(baselines):
    with pytest.raises(InputError, match=r"task\.kind=span: the classical methods classify"):
        baselines("majority", "task.kind=span")


def test_random_methods_run_with_every_seed_and_others_once(tiny_task, tmp_path, monkeypatch):
    config = load_config(FinetuneConfig, str(tiny_task), ["seeds=[4,5]"])
    splits = read_text_splits(config.task)
    fitted = []

    class Guess:
        def __init__(self, seed: int) -> None:
            fitted.append(seed)

        def fit(self, texts, classes):
            return self

        def predict(self, texts):
            return np.zeros(len(texts), int)

    for is_random, seeds in ((True, [4, 5]), (False, [4])):
        fitted.clear()
        monkeypatch.setitem(RIVALS, "guess", Guess)
        monkeypatch.setattr(rivals, "RANDOM", {"guess"} if is_random else set())
        scores = run_rival("guess", RivalTask(tmp_path, config, splits))
        assert fitted == [trial.seed for trial in scores.trials] == seeds
        written = json.loads((tmp_path / "guess" / "scores.json").read_text())
        assert [trial["name"] for trial in written["trials"]] == [f"seed={s}" for s in seeds]


def test_a_test_file_is_scored_too(tiny_task, tmp_path):
    config = load_config(FinetuneConfig, str(tiny_task))
    found = read_text_splits(config.task)
    wrong = [replace(e, target=(e.target + 1) % 3) for e in found.train]
    splits = Splits({**found.parts, "test": wrong}, found.labels)
    (trial,) = run_rival("naive-bayes", RivalTask(tmp_path, config, splits)).trials
    assert trial.dev["accuracy"] > 0.8
    assert trial.test["accuracy"] == 0


def test_a_pair_is_read_as_one_text_with_a_mark_between():
    pair = replace(example(1, "A"), pair="b")
    assert joined_texts([pair, example(2, "C")]) == ["a ||| b", "c"]


def test_names_are_chosen_with_commas_and_checked():
    assert find_rivals("tf-idf,majority") == ["tf-idf", "majority"]
    assert find_rivals("classical") == list(RIVALS)
    assert find_rivals("runs/roberta_small") == find_rivals(None) == []
    with pytest.raises(InputError, match="no rival is called 'svn': majority"):
        find_rivals("tf-idf,svn")
