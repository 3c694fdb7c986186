"""SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016, 2018): questions about paragraphs of articles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from configs.errors import InputError
from finetune.data.example import SpanExample
from finetune.data.json_rows import Json, load_json
from finetune.data.tables import read_text
from pretrain.text.encoding import Decoder, Encoding


def read_squad(path: Path, encoding: Encoding | None = None) -> list[tuple[str, SpanExample]]:
    """(article, question) pairs of a file.

    Articles are called by their titles; one without a title by its first context, so that the same
    article has the same name in every file.

    Raises:
        InputError: no JSON of this form, a question twice, an answer that does not stand in its
            context where it says, answers to some questions only, or more questions with bad bytes
            than `encoding` lets pass.
    """
    decoder = (encoding or Encoding()).decoder(str(path), "question")
    text = read_text(path, decoder)
    try:
        content = load_json(text, str(path))
        articles = _field(content, "data", list, f"{path}: not of SQuAD's form")
        pairs = [
            pair
            for number, article in enumerate(articles, start=1)
            for pair in _article(path, number, article, decoder)
        ]
    except InputError as error:
        raise decoder.blame(text, error) from error
    decoder.finish()
    if not pairs:
        raise InputError(f"{path}: no questions: name a file with at least one")
    _check_questions(path, [example for _, example in pairs])
    return pairs


def _check_questions(path: Path, examples: list[SpanExample]) -> None:
    twice, count = Counter(example.id for example in examples).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: the question id {twice} stands twice: remove one")
    without = next((example for example in examples if not example.is_labelled), None)
    if without and any(example.is_labelled for example in examples):
        raise InputError(
            f"{without.where}: no 'answers' where other questions have them: add them ([] for a "
            "question that has none)"
        )


def _article(
    path: Path, number: int, article: dict[str, Json], decoder: Decoder
) -> Iterator[tuple[str, SpanExample]]:
    where = f"{path}, article {number}"
    paragraphs = _field(article, "paragraphs", list, where)
    title = article.get("title")
    for place, paragraph in enumerate(paragraphs, start=1):
        inside = f"{path}, article {title or number}, paragraph {place}"
        context = _field(paragraph, "context", str, inside)
        name = str(title or paragraphs[0]["context"])
        for asked, question in enumerate(_field(paragraph, "qas", list, inside), start=1):
            yield _question(name, context, question, f"{inside}, question ", asked, decoder)


def _question(
    article: str,
    context: str,
    question: dict[str, Json],
    where: str,
    number: int,
    decoder: Decoder,
) -> tuple[str, SpanExample]:
    """(article, question); `number` is how messages call a question without an id."""
    name = str(_field(question, "id", (str, int), f"{where}{number}"))
    where += name
    asked, known = _field(question, "question", str, where), question.get("answers")
    if known is not None:
        known = _field(question, "answers", list, where)
    _check_impossible(question, where)
    if question.get("is_impossible"):
        known = []
    texts = [_field(answer, "text", str, where) for answer in known or ()]
    starts = [_field(answer, "answer_start", int, where) for answer in known or ()]
    article, name, context, asked, *texts = decoder.plain([article, name, context, asked, *texts])
    answers = tuple(_answers(texts, starts, context, where))
    return article, SpanExample(where, name, asked, context, None if known is None else answers)


def _check_impossible(question: dict[str, Json], where: str) -> None:
    """Raise `InputError` where SQuAD 2.0's mark and the answers contradict each other."""
    if "is_impossible" not in question:
        return
    mark, answers = question["is_impossible"], question.get("answers")
    if not isinstance(mark, bool):
        raise InputError(f"{where}: is_impossible is {mark!r}: write true or false")
    if answers is not None and mark == bool(answers):
        raise InputError(
            f"{where}: is_impossible is {str(mark).lower()}, but it has {len(answers)} answers: "
            "correct one of them"
        )


def _answers(
    texts: list[str], starts: list[int], context: str, where: str
) -> Iterator[tuple[str, int]]:
    for text, start in zip(texts, starts):
        standing = context[start : start + len(text)]
        if not text or start < 0 or standing != text:
            raise InputError(
                f"{where}: the answer '{text}' does not stand in the context at {start} (there: "
                f"'{standing}'): correct answer_start"
            )
        yield text, start


def _field(holder: Json, name: str, kind: type | tuple[type, ...], where: str) -> Json:
    """A field of a JSON object; `InputError` where it is missing or of another type."""
    is_there = isinstance(holder, dict) and name in holder
    if not is_there or not isinstance(holder[name], kind):
        fault = "of a wrong type" if is_there else "missing"
        raise InputError(
            f"{where}: '{name}' is {fault}: SQuAD's files are of data, paragraphs (context, qas), "
            "and questions of id, question, answers (text, answer_start)"
        )
    return holder[name]
