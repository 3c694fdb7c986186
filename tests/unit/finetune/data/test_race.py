"""RACE: a passage a file, or many in one."""

from __future__ import annotations

import json

import pytest

from configs.errors import InputError
from finetune.data.questions import read_race

PASSAGE = {
    "article": "A short\u2028story.",
    "questions": ["Who?", "Why?"],
    "options": [["me", "you"], ["so", "no"]],
    "answers": ["B", "A"],
    "id": "high1.txt",
}
UNNAMED = {key: value for key, value in PASSAGE.items() if key != "id"}


@pytest.fixture
def read(tmp_path):
    """`read("a.json", text)` reads a file of that content."""

    def make(name: str, text: str):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_race(tmp_path / name)

    return make


def test_every_question_is_an_example(read):
    first, second = read("1.txt", json.dumps(PASSAGE))
    assert (first.context, first.question, first.options) == (
        PASSAGE["article"],
        "Who?",
        ("me", "you"),
    )
    assert (first.target, second.target) == (1, 0)
    assert (first.id, second.id) == ("high1.txt-1", "high1.txt-2")
    assert second.where.endswith("1.txt, passage 1, question 2")


def test_lists_and_lines_hold_many_passages(read):
    both = [PASSAGE, UNNAMED]
    lines = "\n\n".join(json.dumps(passage, ensure_ascii=False) for passage in both)
    for name, text in (("a.json", json.dumps(both)), ("a.jsonl", lines)):
        examples = read(name, text)
        assert [e.context for e in examples] == [PASSAGE["article"]] * 4
        assert [e.id for e in examples[2:]] == [f"{name}, passage 2-1", f"{name}, passage 2-2"]


def test_folders_are_read_whole_in_the_order_of_names(tmp_path):
    names = [f"{level}/{number}.txt" for level in ("middle", "high") for number in range(12)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(PASSAGE | {"id": name}))
    ids = [example.id for example in read_race(tmp_path)]
    assert ids[::2] == [f"{name}-1" for name in sorted(names)]


@pytest.mark.parametrize("answer", ["C", "a", "", "AB", "1", "@"])
def test_an_answer_that_is_no_option_is_named_once(read, answer):
    wrong = PASSAGE | {"answers": ["A", answer]}
    with pytest.raises(InputError) as caught:
        read("a.jsonl", f"{json.dumps(PASSAGE)}\n{json.dumps(wrong)}")
    assert str(caught.value).endswith(
        f"a.jsonl, passage 2, question 2: the answer '{answer}' is none of 2 options (A, B, ...)"
    )
    assert str(caught.value).count("passage 2") == 1


@pytest.mark.parametrize(
    "change",
    [{"answers": ["A"]}, {"options": None}, {"questions": ["Who?"]}, {"questions": 7}],
)
def test_a_passage_of_another_form_is_named(read, change):
    with pytest.raises(InputError, match=r"a\.json, passage 2: not of RACE's form"):
        read("a.json", json.dumps([PASSAGE, PASSAGE | change]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [1, 2]}, "question 1: the answer '1' is none of 2 options"),
        ({"article": None}, "question 1: the article is null, no text"),
        ({"questions": ["Who?", ["Why?"]]}, r'question 2: the question is \["Why\?"\], no text'),
        ({"options": [["me", None], ["so", "no"]]}, "question 1: the option is null, no text"),
        ({"answers": None}, "question 1: no answers where other passages have them"),
    ],
)
def test_what_is_no_text_is_refused(read, change, message):
    with pytest.raises(InputError, match=rf"a\.json, passage 2, {message}"):
        read("a.json", json.dumps([PASSAGE, PASSAGE | change]))


def test_a_file_may_have_no_answers(read):
    asked = {key: value for key, value in PASSAGE.items() if key != "answers"}
    assert [e.target for e in read("a.json", json.dumps([asked, asked]))] == [None] * 4


def test_hidden_files_are_no_passages(tmp_path):
    folder = tmp_path / ".data" / "high"
    (folder / ".cache").mkdir(parents=True)
    (folder / "1.txt").write_text(json.dumps(PASSAGE))
    for name in (".DS_Store", "._1.txt", ".cache/2.txt"):
        (folder / name).write_bytes(b"\0\0\0\x01Bud1")
    assert [e.id for e in read_race(folder)] == ["high1.txt-1", "high1.txt-2"]


@pytest.mark.parametrize("passage", [{"article": "x"}, 3, "text", None])
def test_other_json_is_refused(read, passage):
    with pytest.raises(InputError, match=r"a\.json, passage 1: not of RACE's form"):
        read("a.json", json.dumps([passage]))


def test_broken_json_is_named(read):
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: broken JSON"):
        read("a.jsonl", json.dumps(UNNAMED) + "\n{")


@pytest.mark.parametrize("text", ["[]", ""])
def test_a_file_without_questions_is_refused(read, text):
    with pytest.raises(InputError, match="no questions"):
        read("a.json", text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_race(tmp_path / "dev.json")
