"""One sequence an option, and the best of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.example import ChoiceExample
from finetune.tasks.text import ChoiceTask

EXAMPLE = ChoiceExample(
    "here", "x-1", "the name of a class " * 9, "What is it?", ("a", "b", "c"), 2
)


def make_task(max_length: int = 32, **options) -> ChoiceTask:
    return ChoiceTask(TaskConfig(kind="choice", **options), max_length)


def passage(number: int, options: int = 4, questions: int = 2) -> dict:
    return {
        "article": f"Story {number}.",
        "questions": ["Why?"] * questions,
        "options": [[f"option {k}" for k in range(options)]] * questions,
        "answers": ["ABCD"[number % options]] * questions,
    }


def write(folder, name: str, passages: list[dict]) -> str:
    (folder / name).write_text(json.dumps(passages))
    return name


def test_each_option_is_framed_behind_the_context(tokenizer):
    (feature,) = make_task().features([EXAMPLE], tokenizer)
    special = tokenizer.special
    assert len(feature.ids) == len(feature.segments) == 3 and feature.tokens <= 3 * 32
    for option, ids, segments in zip(EXAMPLE.options, feature.ids, feature.segments):
        (tail,) = tokenizer.encode_batch([f"What is it? {option}"])
        context = tokenizer.encode_batch([EXAMPLE.context])[0][: 32 - 3 - len(tail)]
        assert ids.tolist() == [special.cls, *context, special.sep, *tail, special.sep]
        assert segments.tolist() == [0] * (len(context) + 2) + [1] * (len(tail) + 1)
    assert feature.targets.tolist() == [2] and feature.targets.dtype == np.int64


def test_cut_passages_are_told(tokenizer):
    task, (passage,) = make_task(), tokenizer.encode_batch([EXAMPLE.context])
    features = task.features([EXAMPLE], tokenizer)
    tails = tokenizer.encode_batch([f"What is it? {option}" for option in EXAMPLE.options])
    cut = sum(len(passage) + len(tail) + 3 - 32 for tail in tails)
    assert features[0].cut == cut > 0
    (note,) = task.reading_notes("train", [EXAMPLE], features)
    assert note.startswith(
        "train: 1 of 1 examples are longer than max_length=32 tokens and are cut"
    )


def test_features_keep_options_with_their_questions(tokenizer):
    other = ChoiceExample("here", "x-2", "the name", "Who?", ("me", "you"), 0)
    first, second = make_task().features([EXAMPLE, other], tokenizer)
    alone = make_task().features([other], tokenizer)[0]
    assert (first.example, second.example) == (0, 1) and len(second.ids) == 2
    assert all(np.array_equal(a, b) for a, b in zip(second.ids, alone.ids))


def test_a_perfect_model_chooses_right_and_a_wrong_one_is_counted():
    examples = [EXAMPLE, EXAMPLE, EXAMPLE, EXAMPLE]
    logits = list(np.eye(3, dtype=np.float32)[[2, 2, 2, 0]] * 9)
    answers = make_task().answers(examples, [], logits, {})
    assert all(answer.sum() == pytest.approx(1) for answer in answers)
    assert make_task().scores(examples, answers) == {"accuracy": 0.75}
    assert make_task().scores(examples[:3], answers[:3]) == {"accuracy": 1.0}


def test_rows_name_options_by_letters():
    answer = np.array([0.5, 0.3, 0.2])
    (row,) = make_task().rows([EXAMPLE], [answer])
    assert row == {
        "id": "x-1",
        "label": "C",
        "prediction": "A",
        "p(A)": 0.5,
        "p(B)": 0.3,
        "p(C)": 0.2,
    }


def test_questions_of_a_passage_fall_on_the_same_side(tmp_path):
    train = write(tmp_path, "train.json", [passage(n) for n in range(40)])
    splits = make_task(folder=str(tmp_path), train=train, dev_fraction=0.2).read()
    stories = [{example.context for example in part} for part in (splits.train, splits.dev)]
    assert not set.intersection(*stories) and sum(map(len, stories)) == 40
    assert len(splits.train) + len(splits.dev) == 80 and 10 <= len(splits.dev) <= 16


def test_all_questions_have_the_same_number_of_options(tmp_path):
    train = write(tmp_path, "train.json", [passage(0), passage(1)])
    dev = write(tmp_path, "dev.json", [passage(0), passage(2, options=3)])
    task = make_task(folder=str(tmp_path), train=train, dev=dev)
    match = r"dev\.json, passage 2, question 1: 3 options where others have 4"
    with pytest.raises(InputError, match=match):
        task.read()


def test_one_passage_is_too_few(tmp_path):
    train = write(tmp_path, "train.json", [passage(0)])
    with pytest.raises(InputError, match=r"train\.json: nothing is left for"):
        make_task(folder=str(tmp_path), train=train).read()
