"""Labelled texts: what is wrong is named with file and row, and what is right is split once."""

from __future__ import annotations

from collections import Counter

import pytest

from configs.errors import InputError
from configs.task_schema import PreprocessConfig
from finetune.data.example import heldout_mask
from finetune.data.texts import parse_number
from tests.unit.finetune.data.text_tasks import MANY, TRAIN


def test_examples_keep_text_label_and_place(read_texts):
    splits = read_texts(TRAIN, test=[("good", "neg")])
    first = splits.train[0]
    assert splits.labels == ("neg", "pos")
    assert (first.text, first.raw, first.pair, first.target, first.id) == (
        "good film",
        "good film",
        None,
        1,
        "1",
    )
    assert splits.train[2].where.endswith("train.csv, row 3")
    assert [e.target for e in splits.dev] == [1, 0, 1, 0] and splits.parts["test"][0].target == 0


def test_an_id_column_names_the_examples(read_texts):
    rows = [(f"t{n}", text, label) for n, (text, label) in enumerate(TRAIN)]
    splits = read_texts(rows, dev=rows, columns=("UserName", "text", "label"))
    assert [example.id for example in splits.train] == ["t0", "t1", "t2", "t3"]


def test_pairs_and_numbers(read_texts):
    rows = [("a &amp; b", "c &lt; d", "2.5"), ("e", "f", "-1e0")]
    clean = PreprocessConfig(steps=["entities"])
    splits = read_texts(
        rows,
        dev=rows,
        columns=("one", "two", "score"),
        kind="regression",
        text="one",
        text_pair="two",
        label="score",
        preprocess=clean,
    )
    first = splits.train[0]
    assert (first.text, first.pair, first.raw) == ("a & b", "c < d", "a &amp; b")
    assert [example.target for example in splits.dev] == [2.5, -1.0] and splits.labels == ()


PAIR = {"columns": ("text", "other", "label")}
ROW = r"{}\.csv, row {}: "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dev": [*TRAIN, ("odd", "meh")]},
            ROW.format("dev", 5) + r"unknown label 'meh' in column 'label': the labels are neg, "
            r"pos .*task\.labels.*train\.csv.* correct the row, or add the label, or merge it",
        ),
        ({"labels": ["pos"]}, ROW.format("train", 2) + "unknown label 'neg'"),
        (
            {"train": [*TRAIN, ("x", " ")]},
            ROW.format("train", 5) + "no label in column 'label', and so in 1 of 5 rows, more than "
            r"task\.most_bad_rows=0\.01: fill or remove them",
        ),
        (
            {"train": [*TRAIN, (" \n", "pos")]},
            ROW.format("train", 5) + "empty text in column 'text': fill or remove the row",
        ),
        ({"test": [("", "pos")]}, ROW.format("test", 1) + "empty text in column 'text'"),
        (
            {"text_pair": "other", "train": [("x", "", "pos")], **PAIR},
            ROW.format("train", 1) + "empty text in column 'other'",
        ),
        (
            {"text": "tweet"},
            r"train\.csv: no column 'tweet': set task\.text to one of text, label",
        ),
        ({"text_pair": "two"}, r"train\.csv: no column 'two': set task\.text_pair"),
        ({"label": "class"}, r"train\.csv: no column 'class': set task\.label"),
        (
            {"labels": ["neg", "pos", "meh"], "dev": [*TRAIN, ("odd", "meh")]},
            ROW.format("dev", 5)
            + "the label 'meh' is in dev but not in train, so it cannot be learnt: add "
            r"training examples, or merge it by task\.merge",
        ),
        (
            {"labels": ["neg", "pos", "meh"], "test": [("odd", "meh")]},
            ROW.format("test", 1) + "the label 'meh' is in test but not in train, so it cannot be "
            "learnt",
        ),
        (
            {"train": TRAIN[::2], "labels": ["neg", "pos"]},
            r"train\.csv: all examples have the label 'pos': a classifier needs two",
        ),
        (
            {"preprocess": PreprocessConfig(minimum_words=3)},
            r"train\.csv: no example is left for train: .*minimum_words",
        ),
        ({"train": TRAIN, "dev": None}, "no example is left for dev"),
        (
            {"kind": "regression", "train": [("x", "1"), ("y", "one")]},
            ROW.format("train", 2) + "'one' in column 'label' is no number: correct the row",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_cure(read_texts, options, message):
    with pytest.raises(InputError, match=message):
        read_texts(**({"train": TRAIN} | options))


@pytest.mark.parametrize(
    "value",
    ["", "nan", "inf", "-Infinity", "1,5", "0x1", "3 of 5", "2-3", "1_000", "１", "1e39", "1e999"],
)
def test_what_is_no_number(value):
    with pytest.raises(InputError, match=r"f\.csv, row 7: '.*' in column 'score' is no number"):
        parse_number(value, "score", "f.csv, row 7")


def test_numbers_as_data_has_them():
    values = ["2", " 2.50 ", "-.5", "+1e-3", "0.", "1E2"]
    assert [parse_number(v, "", "") for v in values] == [2, 2.5, -0.5, 0.001, 0, 100]
    with pytest.raises(InputError, match="with a decimal point"):
        parse_number("3,8", "score", "here")


def test_dev_is_a_share_of_train_by_label_as_it_stands_in_the_file(read_texts):
    splits = read_texts(MANY, dev=None, dev_fraction=0.2)
    mask = heldout_mask(*zip(*MANY), 0.2)
    assert [e.raw for e in splits.dev] == [text for (text, _), held in zip(MANY, mask) if held]
    assert [e.raw for e in splits.train] == [
        text for (text, _), held in zip(MANY, mask) if not held
    ]
    merged = read_texts(MANY, dev=None, dev_fraction=0.2, merge={"mixed": "neg"})
    assert [e.raw for e in merged.dev] == [e.raw for e in splits.dev]


def test_cleaning_does_not_move_the_split(read_texts):
    clean = PreprocessConfig(steps=["numbers", "spaces"])
    splits = read_texts(MANY, dev=None, preprocess=clean)
    assert [e.raw for e in splits.dev] == [e.raw for e in read_texts(MANY, dev=None).dev]
    assert {e.text for e in splits.dev} == {"film number was"}


def test_the_second_text_counts_in_the_split(read_texts):
    rows = [("same", text, label) for text, label in MANY]
    options = {"columns": ("one", "two", "label"), "text": "one", "text_pair": "two"}
    splits = read_texts(rows, dev=None, dev_fraction=0.2, **options)
    assert Counter(e.target for e in splits.dev) == {0: 6, 1: 6, 2: 6}


def test_short_texts_leave_train_and_stay_in_dev(read_texts):
    rows = [*TRAIN, ("one", "pos"), ("two", "neg")]
    splits = read_texts(rows, dev=rows, preprocess=PreprocessConfig(minimum_words=2))
    assert len(splits.train) == 4 and len(splits.dev) == 6
    assert [example.is_short for example in splits.dev] == [False] * 4 + [True] * 2
    assert "train: 2 of 6 texts have fewer than 2 words after cleaning: left out" in splits.notes
    assert any(note.startswith("dev: 2 of 6") and "kept" in note for note in splits.notes)


def test_texts_that_cleaning_takes_away_are_counted(read_texts):
    rows = [*TRAIN, ("https://a.b", "pos"), ("@me", "neg")]
    clean = PreprocessConfig(steps=["links", "mentions"])
    notes = read_texts(rows, dev=TRAIN, preprocess=clean).notes
    assert any(note.startswith("train: 2 of 6 texts hold nothing after cleaning") for note in notes)


def test_a_label_of_short_texts_only_cannot_be_learnt(read_texts):
    rows = [*TRAIN, ("one", "meh")]
    with pytest.raises(InputError, match="'meh' is in dev but not in train"):
        read_texts(rows, dev=rows, preprocess=PreprocessConfig(minimum_words=2))


def test_notes_tell_what_was_repaired_and_duplicated(read_texts):
    words = "one two three four five six seven eight nine ten"
    train = [*TRAIN, ("it\x92s odd", "pos"), (words, "neg"), ("its own \ufffd", "neg")]
    dev = [("GOOD  film", "pos"), (f"{words} eleven", "neg"), ("new here", "neg")]
    notes = read_texts(train, dev=dev).notes
    assert any(note.startswith("train.csv: 1 of 7 rows held Windows-1252") for note in notes)
    assert not any("U+FFFD" in note for note in notes)
    (line,) = (note for note in notes if note.startswith("dev:"))
    assert line.startswith("dev: 1 exact and 1 near duplicates of training texts; the nearest")
    assert "(Jaccard 0.89)" in line and "dev.csv, row 2 and " in line and "train.csv, row 6" in line


def test_numbers_that_are_all_the_same_are_noted(read_texts):
    rows = [("x", "1"), ("y", "2")]
    notes = read_texts(rows, dev=[("u", "3"), ("v", "3.0")], test=rows, kind="regression").notes
    assert [note for note in notes if "equal" in note] == [
        "dev: all numbers are equal: correlations are undefined, and shown as 0"
    ]


def test_blank_numbers_follow_the_rule_of_labels(read_texts):
    rows = [(f"text {n}", str(n % 5)) for n in range(200)]
    splits = read_texts([*rows, ("one more", "")], dev=rows[:5], kind="regression")
    assert len(splits.train) == 200
    assert "train.csv: 1 of 201 rows have no label ('') and are left out" in splits.notes
    with pytest.raises(InputError, match=r"row 201: no label in column 'label', and so in 50 of"):
        read_texts([*rows, *[("one more", "")] * 50], dev=rows[:5], kind="regression")
