"""Which labels a text task has: merged, in order, left out, and told about."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.texts import read_text_splits
from tests.unit.finetune.data.text_tasks import GRADES, MANY, MERGE, TRAIN


def test_the_order_of_labels_can_be_chosen(read_texts):
    splits = read_texts(TRAIN, labels=["pos", "neg"])
    assert splits.labels == ("pos", "neg") and splits.train[0].target == 0


def test_labels_are_merged_before_anything_is_learnt(read_texts):
    splits = read_texts(GRADES, dev=GRADES, merge=MERGE)
    assert splits.labels == ("Bad", "Good")
    assert Counter(example.target for example in splits.train) == {0: 6, 1: 6}


@pytest.mark.parametrize(
    ("order", "labels"),
    [
        (None, ("Bad", "Good", "Very bad", "Very good")),
        (["Good", "Bad"], ("Good", "Very good", "Bad", "Very bad")),
    ],
)
def test_unmerged_labels_are_all_learnt_beside_those_they_merge_into(read_texts, order, labels):
    splits = read_texts(GRADES, dev=GRADES, merge=MERGE, unmerged="fine", labels=order)
    assert splits.labels == labels
    assert [splits.labels[e.target] for e in splits.train] == [label for _, label in GRADES]


def test_an_unmerged_label_outside_the_order_is_unknown(read_texts):
    with pytest.raises(InputError, match=r"row 13: unknown label 'meh'"):
        read_texts([*GRADES, ("x", "meh")], merge=MERGE, unmerged="fine", labels=["Good", "Bad"])


def test_spaces_around_a_label_make_no_class(read_texts):
    rows = [("a", "pos "), ("b", "neg"), ("c", "\tpos"), ("d", "neg\u00a0"), ("e", "very  neg")]
    splits = read_texts([*rows, *TRAIN], dev=[("f", " pos")])
    assert splits.labels == ("neg", "pos", "very  neg")
    assert [splits.labels[e.target] for e in splits.train[:5]] == [
        *("pos", "neg", "pos", "neg"),
        "very  neg",
    ]
    assert "train.csv: 3 labels had spaces around them; they were cut" in splits.notes
    assert "dev.csv: 1 labels had spaces around them; they were cut" in splits.notes
    assert read_texts([(" x", " 2 "), ("y", "1")], dev=[("f", "3")], kind="regression").notes == (
        "train.csv: 1 labels had spaces around them; they were cut",
        "dev: all numbers are equal: correlations are undefined, and shown as 0",
        "dev: 0 exact and 0 near duplicates of training texts",
    )


def test_spaces_around_a_label_neither_hide_it_from_merging_nor_move_the_split(read_texts):
    padded = [(text, f" {label}" if n % 7 == 0 else label) for n, (text, label) in enumerate(MANY)]
    merge = {"mixed": "neg"}
    plain, found = (read_texts(rows, dev=None, merge=merge) for rows in (MANY, padded))
    assert found.labels == plain.labels == ("neg", "pos")
    assert [(e.raw, e.target) for e in found.dev] == [(e.raw, e.target) for e in plain.dev]


@pytest.mark.parametrize("mark", ["-", "", " ", "nan", "NaN", " - "])
def test_few_rows_without_a_label_are_left_out_and_counted(read_texts, mark):
    rows = [(text, label) for n in range(50) for text, label in TRAIN]
    splits = read_texts([*rows[:7], ("odd", mark), ("odd", mark), *rows[9:]], dev=TRAIN)
    assert splits.labels == ("neg", "pos") and len(splits.train) == 198
    assert splits.train[7].where.endswith("row 10") and splits.train[7].id == "10"
    note = f"train.csv: 2 of 200 rows have no label ('{mark.strip()}') and are left out"
    assert note in splits.notes
    with pytest.raises(InputError, match=r"train\.csv, row 8: no label.* in 2 of 199 rows"):
        read_texts([*rows[:7], ("odd", mark), ("odd", mark), *rows[10:]], dev=TRAIN)


def test_rows_that_the_configuration_says_have_no_label_may_be_many(read_texts):
    rows = [*TRAIN, ("a", "-"), ("b", "-"), ("c", "none")]
    splits = read_texts(rows, dev=rows, no_label=["-", "none"])
    assert splits.labels == ("neg", "pos") and len(splits.train) == len(splits.dev) == 4
    note = "dev.csv: 3 of 7 rows have no label ('-', 'none') and are left out"
    assert note in splits.notes
    with pytest.raises(InputError, match=r"dev\.csv: no row has a label but those of"):
        read_texts(TRAIN, dev=[("a", "-")], no_label=["-"])
    numbers = read_texts(
        [("a", "1"), ("b", "x"), ("c", "2")], [("d", "2")], kind="regression", no_label=["x"]
    )
    assert [example.target for example in numbers.train] == [1, 2]


def test_a_mark_that_is_named_as_a_label_is_one(read_texts):
    rows = [("a", "-"), ("b", "+"), ("c", "-")]
    assert read_texts(rows, dev=rows, labels=["-", "+"]).labels == ("-", "+")
    assert read_texts(rows, dev=rows, merge={"-": "minus"}).labels == ("+", "minus")
    with pytest.raises(
        InputError, match=r"row 1: no label \('-'\).* name it in task\.labels if it"
    ):
        read_texts(rows, dev=rows)


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (["10", "2", "0", "11", "1"], ["0", "1", "2", "10", "11"]),
        (["1", "-1", "0"], ["-1", "0", "1"]),
        (["10.0", "2.0", "1.0", "-1.5", ".5"], ["-1.5", ".5", "1.0", "2.0", "10.0"]),
        (["10", "2", "b"], ["10", "2", "b"]),
    ],
)
def test_labels_that_are_numbers_stand_by_value(read_texts, found, order):
    rows = [(f"text {label}", label) for label in found]
    assert read_texts(rows, dev=rows).labels == tuple(order)
    merge = {found[0]: found[1]}
    assert read_texts(rows, dev=rows, merge=merge, unmerged="fine").labels == tuple(order)


@pytest.mark.parametrize(
    "alike", [("Pos", "pos"), ("1", "1.0"), ("a b", "a  b"), ("é", "e\u0301"), ("x", "x\u200b")]
)
def test_labels_that_differ_in_form_only_are_told(read_texts, alike):
    rows = [("a", alike[0]), ("b", alike[1]), ("c", "other")]
    splits = read_texts(rows, dev=rows)
    (note,) = (note for note in splits.notes if "differ in form only" in note)
    assert len(splits.labels) == 3 and all(f"'{' '.join(a.split(' '))}'" in note for a in alike)
    merged = read_texts(rows, dev=rows, merge={alike[0]: alike[1]})
    assert len(merged.labels) == 2 and not any("form only" in note for note in merged.notes)


def test_merging_a_label_that_is_not_there_is_told(read_texts):
    notes = read_texts(GRADES, dev=GRADES, merge=MERGE | {"Vry good": "Good"}).notes
    assert "task.merge: no training example has the label Vry good" in notes
    assert not any(
        "task.merge" in note for note in read_texts(GRADES, dev=GRADES, merge=MERGE).notes
    )


def test_labels_without_examples_are_noted(read_texts):
    rows = [(f"{label} film", label) for label in ("a", "b", "c", "d")]
    notes = read_texts(rows, dev=rows[:3], test=rows[:1], labels=["a", "b", "c", "d", "e"]).notes
    average = "macro_f1 averages over {} of 5 classes (and any other that is predicted)"
    assert "train: no example has the label e: it cannot be learnt" in notes
    assert f"dev: no example has the label d, e: {average.format(3)}" in notes
    assert f"test: no example has the label b, c, d, e: {average.format(1)}" in notes
    assert not any("no example" in note for note in read_texts(rows, dev=rows).notes)


def test_json_labels_are_strings(tmp_path):
    rows = [{"text": f"t{n}", "label": n % 2} for n in range(30)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    splits = read_text_splits(TaskConfig(folder=str(tmp_path), train="a.json"))
    assert splits.labels == ("0", "1") and len(splits.dev) == 4
