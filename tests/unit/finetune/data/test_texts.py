"""Labelled texts: what is wrong is named with file and row, and what is right is split once."""

from __future__ import annotations

import csv
import json
from collections import Counter

import pytest

from configs.errors import InputError
from configs.task_schema import PreprocessConfig, TaskConfig
from finetune.data.split import heldout_mask
from finetune.data.texts import parse_number, read_text_splits

TRAIN = [("good film", "pos"), ("bad film", "neg"), ("fine film", "pos"), ("dull film", "neg")]
MANY = [(f"film number {n} was {n}", ("pos", "neg", "mixed")[n % 3]) for n in range(90)]
MERGE = {"Very good": "Good", "Very bad": "Bad"}
GRADES = [(f"{label} {n}", label) for n in range(3) for label in ("Good", "Bad", *MERGE)]


@pytest.fixture
def read(tmp_path):
    """`read(train, dev=rows, label=..., ...)` writes the files and reads the task's examples."""

    def make(train, dev=TRAIN, test=None, columns=("text", "label"), **options):
        files = {"train": train, "dev": dev, "test": test}
        for name, rows in files.items():
            if rows is not None:
                with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
                    csv.writer(stream).writerows([columns, *rows])
                options[name] = f"{name}.csv"
        return read_text_splits(TaskConfig(folder=str(tmp_path), **options))

    return make


def test_examples_keep_text_label_and_place(read):
    splits = read(TRAIN, test=[("good", "neg")])
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
    assert [e.target for e in splits.dev] == [1, 0, 1, 0] and splits.test[0].target == 0


def test_the_order_of_labels_can_be_chosen(read):
    splits = read(TRAIN, labels=["pos", "neg"])
    assert splits.labels == ("pos", "neg") and splits.train[0].target == 0


def test_an_id_column_names_the_examples(read):
    rows = [(f"t{n}", text, label) for n, (text, label) in enumerate(TRAIN)]
    splits = read(rows, dev=rows, columns=("UserName", "text", "label"))
    assert [example.id for example in splits.train] == ["t0", "t1", "t2", "t3"]


def test_pairs_and_numbers(read):
    rows = [("a &amp; b", "c &lt; d", "2.5"), ("e", "f", "-1e0")]
    clean = PreprocessConfig(steps=["entities"])
    splits = read(
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
def test_what_is_wrong_is_named_with_its_place_and_cure(read, options, message):
    with pytest.raises(InputError, match=message):
        read(**({"train": TRAIN} | options))


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
    with pytest.raises(InputError, match="with a point for the comma"):
        parse_number("3,8", "score", "here")


def test_labels_are_merged_before_anything_is_learnt(read):
    splits = read(GRADES, dev=GRADES, merge=MERGE)
    assert splits.labels == ("Bad", "Good")
    assert Counter(example.target for example in splits.train) == {0: 6, 1: 6}


@pytest.mark.parametrize(
    ("order", "labels"),
    [
        (None, ("Bad", "Good", "Very bad", "Very good")),
        (["Good", "Bad"], ("Good", "Very good", "Bad", "Very bad")),
    ],
)
def test_unmerged_labels_are_all_learnt_beside_those_they_merge_into(read, order, labels):
    splits = read(GRADES, dev=GRADES, merge=MERGE, unmerged="fine", labels=order)
    assert splits.labels == labels
    assert [splits.labels[e.target] for e in splits.train] == [label for _, label in GRADES]


def test_an_unmerged_label_outside_the_order_is_unknown(read):
    with pytest.raises(InputError, match=r"row 13: unknown label 'meh'"):
        read([*GRADES, ("x", "meh")], merge=MERGE, unmerged="fine", labels=["Good", "Bad"])


def test_dev_is_a_share_of_train_by_label_as_it_stands_in_the_file(read):
    splits = read(MANY, dev=None, dev_fraction=0.2)
    mask = heldout_mask(*zip(*MANY), 0.2)
    assert [e.raw for e in splits.dev] == [text for (text, _), held in zip(MANY, mask) if held]
    assert [e.raw for e in splits.train] == [
        text for (text, _), held in zip(MANY, mask) if not held
    ]
    merged = read(MANY, dev=None, dev_fraction=0.2, merge={"mixed": "neg"})
    assert [e.raw for e in merged.dev] == [e.raw for e in splits.dev]


def test_cleaning_does_not_move_the_split(read):
    clean = PreprocessConfig(steps=["numbers", "spaces"])
    splits = read(MANY, dev=None, preprocess=clean)
    assert [e.raw for e in splits.dev] == [e.raw for e in read(MANY, dev=None).dev]
    assert {e.text for e in splits.dev} == {"film number was"}


def test_the_second_text_counts_in_the_split(read):
    rows = [("same", text, label) for text, label in MANY]
    options = {"columns": ("one", "two", "label"), "text": "one", "text_pair": "two"}
    splits = read(rows, dev=None, dev_fraction=0.2, **options)
    assert Counter(e.target for e in splits.dev) == {0: 6, 1: 6, 2: 6}


def test_short_texts_leave_train_and_stay_in_dev(read):
    rows = [*TRAIN, ("one", "pos"), ("two", "neg")]
    splits = read(rows, dev=rows, preprocess=PreprocessConfig(minimum_words=2))
    assert len(splits.train) == 4 and len(splits.dev) == 6
    assert [example.is_short for example in splits.dev] == [False] * 4 + [True] * 2
    assert "train: 2 of 6 texts have fewer than 2 words after cleaning: left out" in splits.notes
    assert any(note.startswith("dev: 2 of 6") and "kept" in note for note in splits.notes)


def test_texts_that_cleaning_takes_away_are_counted(read):
    rows = [*TRAIN, ("https://a.b", "pos"), ("@me", "neg")]
    clean = PreprocessConfig(steps=["links", "mentions"])
    notes = read(rows, dev=TRAIN, preprocess=clean).notes
    assert any(note.startswith("train: 2 of 6 texts hold nothing after cleaning") for note in notes)


def test_a_label_of_short_texts_only_cannot_be_learnt(read):
    rows = [*TRAIN, ("one", "meh")]
    with pytest.raises(InputError, match="'meh' is in dev but not in train"):
        read(rows, dev=rows, preprocess=PreprocessConfig(minimum_words=2))


def test_notes_tell_what_was_repaired_and_duplicated(read):
    words = "one two three four five six seven eight nine ten"
    train = [*TRAIN, ("it\x92s odd", "pos"), (words, "neg"), ("its own \ufffd", "neg")]
    dev = [("GOOD  film", "pos"), (f"{words} eleven", "neg"), ("new here", "neg")]
    notes = read(train, dev=dev).notes
    assert any(note.startswith("train.csv: 1 of 7 rows held Windows-1252") for note in notes)
    assert not any("U+FFFD" in note for note in notes)
    (line,) = (note for note in notes if note.startswith("dev:"))
    assert line.startswith("dev: 1 exact and 1 near duplicates of training texts; the nearest")
    assert "(Jaccard 0.89)" in line and "dev.csv, row 2 and " in line and "train.csv, row 6" in line


def test_spaces_around_a_label_make_no_class(read):
    rows = [("a", "pos "), ("b", "neg"), ("c", "\tpos"), ("d", "neg\u00a0"), ("e", "very  neg")]
    splits = read([*rows, *TRAIN], dev=[("f", " pos")])
    assert splits.labels == ("neg", "pos", "very  neg")
    assert [splits.labels[e.target] for e in splits.train[:5]] == [
        *("pos", "neg", "pos", "neg"),
        "very  neg",
    ]
    assert "train.csv: 3 labels had spaces around them; they were cut" in splits.notes
    assert "dev.csv: 1 labels had spaces around them; they were cut" in splits.notes
    assert read([(" x", " 2 "), ("y", "1")], dev=[("f", "3")], kind="regression").notes == (
        "train.csv: 1 labels had spaces around them; they were cut",
        "dev: all numbers are equal: correlations are undefined, and shown as 0",
        "dev: 0 exact and 0 near duplicates of training texts",
    )


def test_spaces_around_a_label_neither_hide_it_from_merging_nor_move_the_split(read):
    padded = [(text, f" {label}" if n % 7 == 0 else label) for n, (text, label) in enumerate(MANY)]
    merge = {"mixed": "neg"}
    plain, found = (read(rows, dev=None, merge=merge) for rows in (MANY, padded))
    assert found.labels == plain.labels == ("neg", "pos")
    assert [(e.raw, e.target) for e in found.dev] == [(e.raw, e.target) for e in plain.dev]


@pytest.mark.parametrize("mark", ["-", "", " ", "nan", "NaN", " - "])
def test_few_rows_without_a_label_are_left_out_and_counted(read, mark):
    rows = [(text, label) for n in range(50) for text, label in TRAIN]
    splits = read([*rows[:7], ("odd", mark), ("odd", mark), *rows[9:]], dev=TRAIN)
    assert splits.labels == ("neg", "pos") and len(splits.train) == 198
    assert splits.train[7].where.endswith("row 10") and splits.train[7].id == "10"
    note = f"train.csv: 2 of 200 rows have no label ('{mark.strip()}') and are left out"
    assert note in splits.notes
    with pytest.raises(InputError, match=r"train\.csv, row 8: no label.* in 2 of 199 rows"):
        read([*rows[:7], ("odd", mark), ("odd", mark), *rows[10:]], dev=TRAIN)


def test_rows_that_the_configuration_says_have_no_label_may_be_many(read):
    rows = [*TRAIN, ("a", "-"), ("b", "-"), ("c", "none")]
    splits = read(rows, dev=rows, no_label=["-", "none"])
    assert splits.labels == ("neg", "pos") and len(splits.train) == len(splits.dev) == 4
    note = "dev.csv: 3 of 7 rows have no label ('-', 'none') and are left out"
    assert note in splits.notes
    with pytest.raises(InputError, match=r"dev\.csv: no row has a label but those of"):
        read(TRAIN, dev=[("a", "-")], no_label=["-"])
    numbers = read(
        [("a", "1"), ("b", "x"), ("c", "2")], [("d", "2")], kind="regression", no_label=["x"]
    )
    assert [example.target for example in numbers.train] == [1, 2]


def test_a_mark_that_is_named_as_a_label_is_one(read):
    rows = [("a", "-"), ("b", "+"), ("c", "-")]
    assert read(rows, dev=rows, labels=["-", "+"]).labels == ("-", "+")
    assert read(rows, dev=rows, merge={"-": "minus"}).labels == ("+", "minus")
    with pytest.raises(
        InputError, match=r"row 1: no label \('-'\).* name it in task\.labels if it"
    ):
        read(rows, dev=rows)


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (["10", "2", "0", "11", "1"], ["0", "1", "2", "10", "11"]),
        (["1", "-1", "0"], ["-1", "0", "1"]),
        (["10.0", "2.0", "1.0", "-1.5", ".5"], ["-1.5", ".5", "1.0", "2.0", "10.0"]),
        (["10", "2", "b"], ["10", "2", "b"]),
    ],
)
def test_labels_that_are_numbers_stand_by_value(read, found, order):
    rows = [(f"text {label}", label) for label in found]
    assert read(rows, dev=rows).labels == tuple(order)
    merge = {found[0]: found[1]}
    assert read(rows, dev=rows, merge=merge, unmerged="fine").labels == tuple(order)


@pytest.mark.parametrize(
    "alike", [("Pos", "pos"), ("1", "1.0"), ("a b", "a  b"), ("é", "e\u0301"), ("x", "x\u200b")]
)
def test_labels_that_differ_in_form_only_are_told(read, alike):
    rows = [("a", alike[0]), ("b", alike[1]), ("c", "other")]
    splits = read(rows, dev=rows)
    (note,) = (note for note in splits.notes if "differ in form only" in note)
    assert len(splits.labels) == 3 and all(f"'{' '.join(a.split(' '))}'" in note for a in alike)
    merged = read(rows, dev=rows, merge={alike[0]: alike[1]})
    assert len(merged.labels) == 2 and not any("form only" in note for note in merged.notes)


def test_merging_a_label_that_is_not_there_is_told(read):
    notes = read(GRADES, dev=GRADES, merge=MERGE | {"Vry good": "Good"}).notes
    assert "task.merge: no training example has the label Vry good" in notes
    assert not any("task.merge" in note for note in read(GRADES, dev=GRADES, merge=MERGE).notes)


def test_labels_without_examples_are_noted(read):
    rows = [(f"{label} film", label) for label in ("a", "b", "c", "d")]
    notes = read(rows, dev=rows[:3], test=rows[:1], labels=["a", "b", "c", "d", "e"]).notes
    average = "macro_f1 averages over {} of 5 classes (and any other that is predicted)"
    assert "train: no example has the label e: it cannot be learnt" in notes
    assert f"dev: no example has the label d, e: {average.format(3)}" in notes
    assert f"test: no example has the label b, c, d, e: {average.format(1)}" in notes
    assert not any("no example" in note for note in read(rows, dev=rows).notes)


def test_numbers_that_are_all_the_same_are_noted(read):
    rows = [("x", "1"), ("y", "2")]
    notes = read(rows, dev=[("u", "3"), ("v", "3.0")], test=rows, kind="regression").notes
    assert [note for note in notes if "equal" in note] == [
        "dev: all numbers are equal: correlations are undefined, and shown as 0"
    ]


def test_json_labels_are_strings(tmp_path):
    rows = [{"text": f"t{n}", "label": n % 2} for n in range(30)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    splits = read_text_splits(TaskConfig(folder=str(tmp_path), train="a.json"))
    assert splits.labels == ("0", "1") and len(splits.dev) == 4


def test_blank_numbers_follow_the_rule_of_labels(read):
    rows = [(f"text {n}", str(n % 5)) for n in range(200)]
    splits = read([*rows, ("one more", "")], dev=rows[:5], kind="regression")
    assert len(splits.train) == 200
    assert "train.csv: 1 of 201 rows have no label ('') and are left out" in splits.notes
    with pytest.raises(InputError, match=r"row 201: no label in column 'label', and so in 50 of"):
        read([*rows, *[("one more", "")] * 50], dev=rows[:5], kind="regression")
