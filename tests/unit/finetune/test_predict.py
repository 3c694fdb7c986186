"""Rows in, lines of output out: what is read, what is refused, and in which blocks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.finetune_schema import PreprocessConfig
from finetune.finetuned import Finetuned, load_finetuned
from finetune.predict import Row, columns_of, first_and_rest, predict, read_lines, read_rows
from tests.finetuning import TOPICS, topic_rows, write_csv

TEXTS = [text for text, _ in topic_rows(seed=7, rows=21)]


@pytest.fixture(scope="module")
def model(tiny_finetuned) -> Finetuned:
    return load_finetuned(tiny_finetuned)


def with_task(model: Finetuned, labels: tuple[str, ...] | None = None, **changes) -> Finetuned:
    """The same weights for another task."""
    task = replace(model.card.task, **changes)
    card = replace(model.card, task=task, labels=labels or model.card.labels)
    return replace(model, card=card)


def rows_of(texts: list[str]) -> list[Row]:
    return [Row(f"row {number}", text) for number, text in enumerate(texts, start=1)]


def test_a_line_has_the_prediction_all_probabilities_and_the_text(model):
    lines = list(predict(model, rows_of(TEXTS), block=4))
    assert [line["id"] for line in lines] == [str(n) for n in range(1, len(TEXTS) + 1)]
    assert [line["text"] for line in lines] == TEXTS
    labels = sorted(TOPICS)
    for line in lines:
        shares = [line[f"p({label})"] for label in labels]
        assert sum(shares) == pytest.approx(1, abs=3e-6)
        assert line["prediction"] == labels[shares.index(max(shares))]
        assert list(line) == ["id", "prediction", *(f"p({x})" for x in labels), "text"]


def test_blocks_do_not_change_answers(model):
    alone, together = (list(predict(model, rows_of(TEXTS), block)) for block in (1, 32))
    for one, other in zip(alone, together, strict=True):
        assert one["prediction"] == other["prediction"]
        assert [one[k] for k in one if k[:2] == "p("] == pytest.approx(
            [other[k] for k in other if k[:2] == "p("], abs=3e-6
        )


def test_a_block_is_answered_before_the_next_is_read(model):
    taken = []

    def watched() -> Iterator[Row]:
        for row in rows_of(TEXTS):
            taken.append(row)
            yield row

    lines = predict(model, watched(), block=3)
    for _ in range(3):
        next(lines)
        assert len(taken) == 3
    next(lines)
    assert len(taken) == 6


def test_texts_are_cleaned_as_in_training_and_shown_as_they_were(model):
    cleaning = with_task(model, preprocess=PreprocessConfig(steps=["links", "lowercase", "spaces"]))
    (dirty,) = predict(cleaning, rows_of(["OPEN the FILE http://a.b/c"]), 1)
    (clean,) = predict(model, rows_of(["open the file"]), 1)
    assert dirty.pop("text") == "OPEN the FILE http://a.b/c"
    assert dirty == {k: v for k, v in clean.items() if k != "text"}


def test_merged_labels_add_up(model):
    (plain,) = predict(model, rows_of(TEXTS[:1]), 1)
    merged = with_task(model, merge={"loop": "code", "file": "code"}, unmerged="topics3")
    (line,) = predict(merged, rows_of(TEXTS[:1]), 1)
    assert line["p(code)"] == pytest.approx(plain["p(file)"] + plain["p(loop)"], abs=2e-6)
    assert line["unmerged_prediction"] == plain["prediction"]
    assert not [name for name in line if name.endswith("label")]


def test_lines_are_read_as_they_come_and_keep_their_spaces():
    rows = read_lines(io.StringIO("one\r\n  two \n"), "typed")
    assert next(rows) == Row("typed, line 1", "one")
    assert next(rows) == Row("typed, line 2", "  two ")
    assert next(rows, None) is None


@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_an_empty_line_is_named(empty):
    rows = read_lines(io.StringIO(f"one\n{empty}\nthree\n"), "typed")
    next(rows)
    with pytest.raises(InputError, match=r"typed, line 2: empty text"):
        next(rows)


def test_tables_are_read_by_the_columns_of_the_task(model, tmp_path):
    path = write_csv(tmp_path / "new.csv", [("7", 'a "quoted", text'), ("8", "b")], ("n", "text"))
    assert [row.text for row in read_rows(path, model, None)] == ['a "quoted", text', "b"]
    assert [row.text for row in read_rows(path, model, "n")] == ["7", "8"]


def test_rows_of_jsonl_are_read_too(model, tmp_path):
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS))
    assert [row.text for row in read_rows(path, model, None)] == TEXTS


def refusal(path: Path, model: Finetuned, column: str | None = None) -> str:
    with pytest.raises(InputError) as error:
        list(read_rows(path, model, column))
    return str(error.value)


def test_a_missing_column_and_an_empty_cell_are_named(model, tmp_path):
    path = write_csv(tmp_path / "new.csv", [("a", "b"), ("c", " ")], ("text", "second"))
    pairs = with_task(model, text_pair="second")
    assert "no column 'tweet': choose one of text, second" in refusal(path, model, "tweet")
    assert f"{path}, row 2: empty text in column 'second'" in refusal(path, pairs)


def test_a_model_of_pairs_takes_both_columns_and_no_single_lines(model, tmp_path):
    pairs = with_task(model, text_pair="second")
    path = write_csv(tmp_path / "new.csv", [("open", "the file")], ("text", "second"))
    (row,) = read_rows(path, pairs, None)
    assert (row.text, row.pair) == ("open", "the file")
    (paired,), (single,) = predict(pairs, [row], 1), predict(model, rows_of(["open"]), 1)
    assert paired["p(file)"] != single["p(file)"]
    with pytest.raises(InputError, match=r"row 1: .*the columns text and second"):
        next(predict(pairs, rows_of(["open"]), 1))


def test_questions_have_columns_of_their_own(model):
    assert columns_of(with_task(model, kind="span").card.task) == ("question", "context")


def test_a_choice_cannot_be_asked_by_text_alone(model):
    with pytest.raises(InputError, match="a multiple-choice model"):
        next(predict(with_task(model, kind="choice"), rows_of(TEXTS), 1))


def test_no_text_at_all_is_bad_input():
    with pytest.raises(InputError, match="holds no text"):
        first_and_rest(iter([]))
    names, lines = first_and_rest(iter([{"a": 1}, {"a": 2}]))
    assert names == ["a"] and list(lines) == [{"a": 1}, {"a": 2}]
