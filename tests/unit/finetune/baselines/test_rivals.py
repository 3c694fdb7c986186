"""The classical methods: their seeds, labels, splits and scores."""

from __future__ import annotations

import json
import os
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
from tests.finetuning import write_task


@pytest.fixture(scope="module")
def topics(tmp_path_factory) -> Path:
    """The path of a configuration of the topics task; classical methods ask for no encoder."""
    folder = tmp_path_factory.mktemp("topics")
    return write_task(folder, folder / "none")


@pytest.fixture
def baselines(topics, tmp_path, monkeypatch):
    """`baselines("majority", "a.b=c")` runs the command's main on the topics task."""

    def run(names: str, *overrides: str) -> Path:
        words = ("--config", str(topics), f"run_dir={tmp_path}/out", f"model={names}")
        monkeypatch.setattr("sys.argv", ["finetune.py", *words, *overrides])
        with mock.patch.dict(os.environ):
            try:
                main()
            finally:
                world.stop()
        return tmp_path / "out/classical"

    return run


def test_a_folder_without_scores_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"no scores\.json there"):
        comparison([tmp_path])


def test_a_damaged_file_of_scores_is_named(baselines):
    folder = baselines("majority") / "majority"
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


def test_random_methods_run_with_every_seed_and_others_once(topics, tmp_path, monkeypatch):
    config = load_config(FinetuneConfig, str(topics), ["seeds=[4,5]"])
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


def test_a_test_file_is_scored_too(topics, tmp_path):
    config = load_config(FinetuneConfig, str(topics))
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
