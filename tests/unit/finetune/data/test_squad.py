"""Questions and answers of SQuAD's files."""

from __future__ import annotations

import json

import pytest

from configs.errors import InputError
from finetune.data.questions import read_squad
from tests.conftest import DATA

FILES = {
    "1.1": ("dev-v1.1.reconstructed.json", 48, 10570, 34726, 0),
    "2.0": ("dev-v2.0.reconstructed.json", 35, 11873, 20302, 5945),
}
CONTEXT = "The cat sat on the mat."


def question(name: str = "q1", answers=(("cat", 4),), **more) -> dict:
    listed = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": f"{name}?", "answers": listed, **more}


@pytest.fixture
def read(tmp_path):
    """`read(question, ...)` reads a file with one paragraph of them; a string is the whole file."""

    def make(*questions):
        paragraph = {"context": CONTEXT, "qas": list(questions)}
        content = {"data": [{"title": "Cats", "paragraphs": [paragraph]}]}
        path = tmp_path / "a.json"
        is_text = questions and isinstance(questions[0], str)
        path.write_text(questions[0] if is_text else json.dumps(content))
        return read_squad(path)

    return make


def test_answers_keep_their_places(read):
    (example,) = read(question(answers=[("cat", 4), ("The cat", 0)]))
    assert (example.article, example.id, example.question) == ("Cats", "q1", "q1?")
    assert example.context == CONTEXT and example.answers == (("cat", 4), ("The cat", 0))
    assert example.where.endswith("a.json, article Cats, paragraph 1, question q1")


def test_impossible_questions_have_no_answers(read):
    told = question(is_impossible=True, answers=[])
    unanswered = question("q3", is_impossible=True)
    del unanswered["answers"]
    examples = read(told, question("q2", answers=[]), unanswered)
    assert [example.answers for example in examples] == [(), (), ()]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"is_impossible": True}, "question q1: is_impossible is true, but it has 1 answers"),
        ({"is_impossible": False, "answers": []}, "is_impossible is false, but it has 0 answers"),
        ({"is_impossible": "false"}, "question q1: is_impossible is 'false': write true or false"),
    ],
)
def test_a_mark_that_contradicts_the_answers_is_refused(read, odd, message):
    with pytest.raises(InputError, match=message):
        read(question(**odd))


@pytest.mark.parametrize("answer", [("cat", 3), ("cat", -1), ("mat", -4), ("", 4), ("cat", 99)])
def test_an_answer_outside_its_context_is_named_once(read, answer):
    with pytest.raises(InputError) as caught:
        read(question(), question("q2", answers=[answer]))
    message = str(caught.value)
    assert message.count("a.json") == 1
    assert "a.json, article Cats, paragraph 1, question q2: the answer" in message
    assert "correct answer_start" in message and "form" not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: broken JSON"),
        ("[]", "not of SQuAD's form"),
        ('{"data": [], "data": []}', "has 'data' twice"),
        ("[" * 9_999, "nested too deeply"),
        ('{"data": []}', "no questions"),
    ],
)
def test_other_files_are_refused(read, content, message):
    with pytest.raises(InputError, match=rf"a\.json[:,] .*{message}"):
        read(content)


def whole(article: object) -> str:
    return json.dumps({"data": [article]})


def paragraph(**change) -> dict:
    asked = {key: value for key, value in (question() | change).items() if value is not None}
    return {"paragraphs": [{"context": CONTEXT, "qas": [asked]}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (whole({"title": "x"}), "article 1: 'paragraphs' is missing"),
        (whole(3), "article 1: 'paragraphs' is missing"),
        (whole({"paragraphs": [{"qas": []}]}), "article 1, paragraph 1: 'context' is missing"),
        (whole(paragraph(id=None)), "article 1, paragraph 1, question 1: 'id' is missing"),
        (whole(paragraph(question=[])), "question q1: 'question' is of a wrong type"),
        (whole(paragraph(answers="cat")), "question q1: 'answers' is of a wrong type"),
        (whole(paragraph(answers=[{"text": "cat"}])), "question q1: 'answer_start' is missing"),
    ],
)
def test_a_missing_field_is_named_with_its_place(read, content, message):
    with pytest.raises(InputError, match=rf"a\.json, .*{message}"):
        read(content)


def test_no_title_no_version(read):
    """What an article is called by is then its first context."""
    (example,) = read(whole(paragraph()))
    assert example.article == example.context == CONTEXT and example.answers == (("cat", 4),)
    assert example.where.endswith("a.json, article 1, paragraph 1, question q1")


def test_questions_without_answers_are_to_be_predicted(read):
    """Not: have no answer, as those of SQuAD 2.0 that say so."""
    asked = paragraph(answers=None)
    assert [example.answers for example in read(whole(asked))] == [None]
    asked["paragraphs"][0]["qas"].append(question("q2"))
    with pytest.raises(InputError, match=r"question q1: no 'answers' where other questions have"):
        read(whole(asked))


def test_an_id_stands_once(read):
    with pytest.raises(InputError, match="question id q2 occurs twice"):
        read(question(), question("q2"), question("q2"))


@pytest.mark.parametrize("version", FILES)
def test_the_development_sets(version, tmp_path):
    name, articles, questions, answers, impossible = FILES[version]
    path = DATA / "squad_dev" / name
    if not path.is_file():
        pytest.skip(f"needs SQuAD {version}'s development set")
    examples = read_squad(path)
    bare = json.loads(path.read_text(encoding="utf-8"))
    untitled = [{"paragraphs": article["paragraphs"]} for article in bare["data"]]
    copy = tmp_path / "bare.json"
    copy.write_text(json.dumps({"data": untitled}))
    copied = read_squad(copy)
    assert [(e.id, e.answers) for e in copied] == [(e.id, e.answers) for e in examples]
    assert len({example.article for example in examples}) == articles
    assert len(examples) == questions
    assert sum(len(example.answers) for example in examples) == answers
    assert sum(not example.answers for example in examples) == impossible
