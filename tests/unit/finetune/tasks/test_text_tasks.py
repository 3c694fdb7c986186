"""Classification and regression: features, answers, merged labels, rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.errors import InputError
from configs.task_schema import METRICS, TaskConfig
from finetune.data.example import TextExample
from finetune.model.model_folder import KINDS, make_task
from finetune.scoring.metrics import classification_scores
from finetune.tasks.text import ClassificationTask, RegressionTask, row_of, softmax

LABELS = ("Bad", "Good", "Very bad", "Very good")
MERGE = {"Very bad": "Bad", "Very good": "Good"}
FINE = TaskConfig(merge=MERGE, unmerged="fine")


def example(text: str, target: float | None = 1, pair: str | None = None) -> TextExample:
    return TextExample("here", "7", text, pair, target)


def test_features_are_framed_texts(tokenizer):
    task = ClassificationTask(TaskConfig(), 12, LABELS)
    examples = [example("the name"), example("", 0), example("the name of a class " * 9, None)]
    features = task.features(examples, tokenizer)
    special = tokenizer.special
    for number, (e, feature) in enumerate(zip(examples, features)):
        (ids,) = tokenizer.encode_batch([e.text])
        assert feature.ids[0].tolist() == [special.cls, *ids[:10], special.sep]
        assert feature.example == number and not feature.segments[0].any()
    assert [f.targets.tolist() for f in features] == [[1], [0], [0]]
    assert all(f.targets.dtype == np.int64 for f in features)


def test_features_of_pairs_have_two_segments(tokenizer):
    task = RegressionTask(TaskConfig(kind="regression"), 64)
    (feature,) = task.features([example("the name", 2.5, "a class")], tokenizer)
    first, second = tokenizer.encode_batch(["the name", "a class"])
    cls, sep = tokenizer.special.cls, tokenizer.special.sep
    assert feature.ids[0].tolist() == [cls, *first, sep, *second, sep]
    assert feature.segments[0].sum() == len(second) + 1
    assert feature.targets.tolist() == [2.5] and feature.targets.dtype == np.float32


def test_answers_are_probabilities():
    task = ClassificationTask(TaskConfig(), 12, LABELS)
    logits = [np.array([1000.0, 1000.0, -1000.0, 0.0]), np.log(np.array([1.0, 2.0, 3.0, 4.0]))]
    first, second = task.answers([], [], logits, {})
    assert first.tolist() == [0.5, 0.5, 0.0, 0.0]
    np.testing.assert_allclose(second, [0.1, 0.2, 0.3, 0.4])
    assert softmax(np.zeros(4, np.float32)).dtype == np.float32


def test_scores_without_merging_are_those_of_the_labels():
    task = ClassificationTask(TaskConfig(), 12, LABELS)
    answers = list(np.eye(4)[[0, 1, 2, 2]])
    examples = [example("", target) for target in (0, 1, 2, 3)]
    assert task.scores(examples, answers) == classification_scores([0, 1, 2, 3], [0, 1, 2, 2], 4)
    assert task.shown_labels == LABELS and task.metric == "accuracy" and task.outputs == 4


def test_merged_labels_add_up_their_probabilities():
    task = ClassificationTask(FINE, 12, LABELS)
    answer = np.array([0.3, 0.4, 0.3, 0.0])
    assert task.shown_labels == ("Bad", "Good") and task.outputs == 4
    np.testing.assert_allclose(task.merged(answer), [0.6, 0.4])
    scores = task.scores([example("", 2)] * 3, [answer, np.eye(4)[2], np.eye(4)[1]])
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["unmerged_accuracy"] == pytest.approx(1 / 3)
    (row,) = task.rows([example("", 2)], [answer])
    assert (row["label"], row["prediction"], row["p(Bad)"]) == ("Bad", "Bad", 0.6)
    assert (row["unmerged_label"], row["unmerged_prediction"]) == ("Very bad", "Good")
    assert row["unmerged_p(Very bad)"] == 0.3


def test_labels_that_only_merging_makes_are_shown_once():
    merge = {"Very bad": "Negative", "Bad": "Negative", "Good": "Positive", "Very good": "Positive"}
    task = ClassificationTask(TaskConfig(merge=merge, unmerged="fine"), 12, LABELS)
    assert task.shown_labels == ("Negative", "Positive") and task.places == [0, 1, 0, 1]


def test_rows_without_a_target_have_no_label():
    assert row_of(np.array([0.25, 0.75]), None, "ab") == {
        "prediction": "b",
        "p(a)": 0.25,
        "p(b)": 0.75,
    }
    task = RegressionTask(TaskConfig(kind="regression"), 12)
    rows = list(task.rows([example("", None), example("", 0.0)], [1.23456789, 2.0]))
    assert rows == [
        {"id": "7", "prediction": 1.234568},
        {"id": "7", "label": 0.0, "prediction": 2.0},
    ]


def test_regression_answers_are_numbers_and_correlate():
    task = RegressionTask(TaskConfig(kind="regression"), 12)
    answers = task.answers([], [], [np.array([v], np.float32) for v in (1, 2, 4)], {})
    assert answers == [1.0, 2.0, 4.0] and task.outputs == 1 and task.metric == "pearson"
    scores = task.scores([example("", target) for target in (10.0, 20.0, 40.0)], answers)
    assert scores == {"pearson": pytest.approx(1), "spearman": pytest.approx(1)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_task(kind):
    metric = METRICS[kind][-1]
    task = make_task(TaskConfig(kind=kind, metric=metric), 12, LABELS)
    assert type(task) is KINDS[kind] and task.labels == LABELS and task.metric == metric
    assert make_task(TaskConfig(kind=kind), 12).metric == METRICS[kind][0]


def test_f1_of_one_class_is_for_two_classes(tmp_path):
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"a {n},{n % 3}\n" for n in range(60))
    )
    config = TaskConfig(folder=str(tmp_path), metric="f1")
    with pytest.raises(InputError, match="there are 3: take macro_f1"):
        make_task(config, 16).read()


def test_which_of_two_labels_f1_is_of(tmp_path):
    (tmp_path / "train.csv").write_text(
        "text,label\n" + "".join(f"a {n},{'no' if n % 2 else 'yes'}\n" for n in range(60))
    )
    config = TaskConfig(folder=str(tmp_path), labels=["yes", "no"])
    assert (
        "f1 is that of the label no, the second (task.labels)" in make_task(config, 16).read().notes
    )


def test_cut_texts_are_told(tokenizers):
    tokenizer = tokenizers["wordpiece"]
    task = make_task(TaskConfig(), 12, LABELS)
    short, long = example("the name"), example("the " * 30)
    pair = replace(long, pair="name " * 10)

    def notes(*examples: TextExample) -> list[str]:
        return list(task.reading_notes("dev", examples, task.features(examples, tokenizer)))

    assert notes(short) == ["dev: none of 1 examples is longer than max_length=12 tokens"]
    assert notes(short, long, long) == [
        "dev: 2 of 3 examples are longer than max_length=12 tokens and are cut: 40 of 68 tokens "
        "are not read"
    ]
    assert "31 of 43 tokens are not read" in notes(pair)[0]
