"""Rows in, lines of output out: what is read, what is refused, and in which blocks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.task_schema import PreprocessConfig
from finetune.model.model_folder import (
    CARD,
    FinetunedModel,
    find_finetuned,
    load_finetuned,
    read_card,
)
from finetune.model.prediction import (
    NewText,
    choose_device,
    columns_of,
    first_and_rest,
    predict,
    read_line_file,
    read_lines,
    read_rows,
)
from pretrain.text.encoding import Encoding
from tests.finetuning import TOPICS, topic_rows, write_csv

TEXTS = [text for text, _ in topic_rows(seed=7, rows=21)]


@pytest.fixture(scope="module")
def model(tiny_finetuned) -> FinetunedModel:
    return load_finetuned(tiny_finetuned)


def with_task(
    model: FinetunedModel, labels: tuple[str, ...] | None = None, **changes
) -> FinetunedModel:
    """The same weights for another task."""
    task = replace(model.card.task, **changes)
    card = replace(model.card, task=task, labels=labels or model.card.labels)
    return replace(model, card=card)


def rows_of(texts: list[str]) -> list[NewText]:
    return [NewText(f"row {n}", str(n), text) for n, text in enumerate(texts, start=1)]


def ask(model: FinetunedModel, rows: list[NewText], block: int) -> list[dict]:
    return list(predict(model, rows, block, []))


def test_a_line_has_the_prediction_all_probabilities_and_the_text(model):
    lines = ask(model, rows_of(TEXTS), 4)
    assert [line["id"] for line in lines] == [str(n) for n in range(1, len(TEXTS) + 1)]
    assert [line["text"] for line in lines] == TEXTS
    labels = sorted(TOPICS)
    for line in lines:
        shares = [line[f"p({label})"] for label in labels]
        assert sum(shares) == pytest.approx(1, abs=3e-6)
        assert line["prediction"] == labels[shares.index(max(shares))]
        assert list(line) == ["id", "prediction", *(f"p({x})" for x in labels), "text"]


def test_blocks_do_not_change_answers(model):
    alone, together = (ask(model, rows_of(TEXTS), block) for block in (1, 32))
    for one, other in zip(alone, together, strict=True):
        assert one["prediction"] == other["prediction"]
        assert [one[k] for k in one if k[:2] == "p("] == pytest.approx(
            [other[k] for k in other if k[:2] == "p("], abs=3e-6
        )


def test_a_block_is_answered_before_the_next_is_read(model):
    taken = []

    def watched() -> Iterator[NewText]:
        for row in rows_of(TEXTS):
            taken.append(row)
            yield row

    lines = predict(model, watched(), 3, [])
    for _ in range(3):
        next(lines)
        assert len(taken) == 3
    next(lines)
    assert len(taken) == 6


def test_a_model_from_before_there_was_a_choice_of_stop_words_keeps_its_own(
    tiny_finetuned: Path, tmp_path: Path
):
    folder = find_finetuned(tiny_finetuned)
    card = json.loads((folder / CARD).read_text())
    assert read_card(folder / CARD).task.preprocess.stop_words == "nltk"
    del card["task"]["preprocess"]["stop_words"]
    (tmp_path / CARD).write_text(json.dumps(card))
    assert read_card(tmp_path / CARD).task.preprocess.stop_words == "scikit-learn"


def test_texts_are_cleaned_as_in_training_and_shown_as_they_were(model):
    cleaning = with_task(model, preprocess=PreprocessConfig(steps=["links", "lowercase", "spaces"]))
    (dirty,) = ask(cleaning, rows_of(["OPEN the FILE http://a.b/c"]), 1)
    (clean,) = ask(model, rows_of(["open the file"]), 1)
    assert dirty.pop("text") == "OPEN the FILE http://a.b/c"
    assert dirty == {k: v for k, v in clean.items() if k != "text"}


def test_merged_labels_add_up(model):
    (plain,) = ask(model, rows_of(TEXTS[:1]), 1)
    merged = with_task(model, merge={"loop": "code", "file": "code"}, unmerged="topics3")
    (line,) = ask(merged, rows_of(TEXTS[:1]), 1)
    assert line["p(code)"] == pytest.approx(plain["p(file)"] + plain["p(loop)"], abs=2e-6)
    assert line["unmerged_prediction"] == plain["prediction"]
    assert not [name for name in line if name.endswith("label")]


def lines(content: bytes, **options) -> Iterator[NewText]:
    decoder = Encoding(**options).decoder("typed", "line")
    return read_lines(io.BufferedReader(io.BytesIO(content)), decoder)


def test_lines_are_read_as_they_come_and_keep_their_spaces():
    rows = lines("one\r\n  two\u2028 \n\nfour".encode())
    assert next(rows) == NewText("typed, line 1", "1", "one")
    assert next(rows) == NewText("typed, line 2", "2", "  two\u2028 ")
    assert next(rows) == NewText("typed, line 3", "3", "")
    assert next(rows) == NewText("typed, line 4", "4", "four")
    assert next(rows, None) is None


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_a_row_without_text_has_an_empty_prediction_and_is_counted(model, blank):
    notes = []
    rows = rows_of([blank, "open the file", blank])
    found = list(predict(model, rows, 2, notes))
    (alone,) = ask(model, rows[1:2], 1)
    assert found[1] == pytest.approx(alone, abs=3e-6)
    for line, name in ((found[0], "1"), (found[2], "3")):
        assert line == dict.fromkeys(alone, "") | {"id": name, "text": blank}
    assert notes == ["2 of 3 rows hold no text: their predictions are empty"]


def test_a_pair_is_blank_where_either_text_is():
    assert (
        NewText("row 1", "1", "asked", " ").is_blank and NewText("row 1", "1", "", "given").is_blank
    )
    assert (
        not NewText("row 1", "1", "asked", "given").is_blank
        and not NewText("row 1", "1", "a").is_blank
    )


def test_texts_that_are_cut_are_counted(model):
    notes = []
    rows = rows_of(["open the file", "open the file " * 99, "", "read " * 99])
    assert len(list(predict(model, rows, 3, notes))) == 4
    assert "2 of 4 rows are longer than the model reads: they were truncated" in notes


def test_a_text_that_cleaning_takes_away_is_counted(model):
    cleaning = with_task(model, preprocess=PreprocessConfig(steps=["mentions"]))
    notes = []
    (line,) = predict(cleaning, rows_of(["@nobody"]), 1, notes)
    assert line["prediction"] and line["text"] == "@nobody"
    assert notes == [
        "1 of 1 rows hold nothing after the task's cleaning: they were answered as empty texts"
    ]


def test_a_file_of_lines_is_judged_before_its_first_answer(tmp_path):
    path = tmp_path / "new.txt"
    path.write_bytes(b"good\n" * 99 + b"na\xefve\n" * 3)
    encoding = Encoding(fields=("--encoding ", "--most-bad-rows "))
    with pytest.raises(
        InputError, match=r"3 of 102 lines .*line 100, byte 0xef.*--most-bad-rows 0"
    ):
        next(read_line_file(path, encoding))
    rows = list(read_line_file(path, replace(encoding, name="cp1252")))
    assert [row.text for row in rows[98:]] == ["good", *["naïve"] * 3]
    kept = replace(encoding, most_bad=0.03)
    assert [row.text for row in read_line_file(path, kept)][-1] == "na\ufffdve"
    assert kept.notes == ["new.txt: 3 of 102 lines hold bytes that are not UTF-8, shown as U+FFFD"]


def test_a_file_of_lines_in_utf_8_is_not_read_as_something_else(tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("été à Paris, là-bas, où déjà l'été\n" * 3, encoding="utf-8")
    with pytest.raises(InputError, match=r"new\.txt: this file is UTF-8, not cp1252"):
        next(read_line_file(path, Encoding("cp1252")))


def test_standard_input_is_judged_from_its_hundredth_line_on():
    bad, good = b"na\xefve\n", b"good\n"
    rows = lines(bad + good * 99)
    assert [row.text for row in rows][:2] == ["na\ufffdve", "good"]
    rows = lines(bad * 2 + good * 200)
    for _ in range(99):
        next(rows)
    with pytest.raises(InputError, match="typed: 2 of 100 lines hold bytes"):
        next(rows)
    with pytest.raises(InputError, match="typed: 1 of 2 lines hold bytes"):
        list(lines(bad + good))


def test_the_device_is_a_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [choose_device(n).type for n in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [choose_device(name).type for name in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(InputError, match="--device cuda: PyTorch sees no GPU"):
        choose_device("cuda")


def test_a_model_is_loaded_onto_the_device_that_is_asked_for(tiny_finetuned):
    found = load_finetuned(tiny_finetuned, "meta").model
    assert {weight.device.type for weight in found.state_dict().values()} == {"meta"}


def test_tables_are_read_by_the_columns_of_the_task(model, tmp_path):
    path = write_csv(tmp_path / "new.csv", [("7", 'a "quoted", text'), ("8", "b")], ("n", "text"))
    assert [row.text for row in rows_in(path, model)] == ['a "quoted", text', "b"]
    assert [row.text for row in rows_in(path, model, "n")] == ["7", "8"]


def rows_in(path: Path, model: FinetunedModel, column: str | None = None) -> list[NewText]:
    return list(read_rows(path, model, column, Encoding()))


def test_rows_of_tables_have_the_ids_that_training_gives_them(model, tmp_path):
    path = write_csv(tmp_path / "new.csv", [("a", "t7"), (" ", "t9")], ("text", "UserName"))
    assert [(row.id, row.is_blank) for row in rows_in(path, model)] == [("t7", False), ("t9", True)]
    assert [line["id"] for line in ask(model, rows_in(path, model), 1)] == ["t7", "t9"]


def test_rows_of_jsonl_are_read_too(model, tmp_path):
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS))
    assert [row.text for row in rows_in(path, model)] == TEXTS


def refusal(path: Path, model: FinetunedModel, column: str | None = None) -> str:
    with pytest.raises(InputError) as error:
        rows_in(path, model, column)
    return str(error.value)


def test_a_missing_column_is_named(model, tmp_path):
    path = write_csv(tmp_path / "new.csv", [("a", "b"), ("c", " ")], ("text", "second"))
    pairs = with_task(model, text_pair="third")
    assert "no column 'tweet': set --text-column to one of text, second" in refusal(
        path, model, "tweet"
    )
    assert f"{path}: no column 'third', which the model reads as its second" in refusal(path, pairs)


def test_a_model_of_pairs_takes_both_columns_and_no_single_lines(model, tmp_path):
    pairs = with_task(model, text_pair="second")
    path = write_csv(tmp_path / "new.csv", [("open", "the file")], ("text", "second"))
    (row,) = rows_in(path, pairs)
    assert (row.text, row.pair) == ("open", "the file")
    (paired,), (single,) = ask(pairs, [row], 1), ask(model, rows_of(["open"]), 1)
    assert paired["p(file)"] != single["p(file)"]
    with pytest.raises(InputError, match=r"row 1: .*the columns text and second"):
        ask(pairs, rows_of(["open"]), 1)


def test_questions_have_columns_of_their_own(model):
    assert columns_of(with_task(model, kind="span").card.task) == ("question", "context")


def test_a_choice_cannot_be_asked_by_text_alone(model):
    with pytest.raises(InputError, match="a multiple-choice model"):
        ask(with_task(model, kind="choice"), rows_of(TEXTS), 1)


def test_no_text_at_all_is_bad_input():
    with pytest.raises(InputError, match="holds no text"):
        first_and_rest(iter([]))
    names, lines = first_and_rest(iter([{"a": 1}, {"a": 2}]))
    assert names == ["a"] and list(lines) == [{"a": 1}, {"a": 2}]
