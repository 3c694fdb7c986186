"""SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016, 2018): questions about paragraphs of articles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from finetune.data.tables import load_json, read_text
from finetune.example import SpanExample
from pretrain.data.encoding import Decoder, Encoding


def read_squad(path: Path, encoding: Encoding | None = None) -> list[tuple[str, SpanExample]]:
    """(article, question) pairs of a file.

    Raises:
        InputError: no JSON of this form, a question twice, or an answer that does not stand in its
            context where it says, or more questions with bad bytes than `encoding` lets pass.
    """
    decoder = (encoding or Encoding()).decoder(str(path), "question")
    text = read_text(path, decoder)
    try:
        articles = load_json(text, str(path))["data"]
        pairs = list(_examples(path, articles, decoder))
    except InputError as error:
        raise decoder.blame(text, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not of SQuAD's form ({type(error).__name__}: {error}): it has data, "
            "paragraphs, qas, answers"
        ) from error
    decoder.finish()
    if not pairs:
        raise InputError(f"{path}: no questions: name a file with at least one")
    ids = [example.id for _, example in pairs]
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        raise InputError(f"{path}: the question id {twice} stands twice: remove one")
    return pairs


def _examples(
    path: Path, articles: list[dict[str, Any]], decoder: Decoder
) -> Iterator[tuple[str, SpanExample]]:
    for article in articles:
        for number, paragraph in enumerate(article["paragraphs"], start=1):
            for question in paragraph["qas"]:
                _check_impossible(question, f"{path}, question {question['id']}")
                known = () if question.get("is_impossible") else question.get("answers", ())
                title, name, context, asked, *texts = decoder.plain(
                    [
                        str(article["title"]),
                        str(question["id"]),
                        paragraph["context"],
                        question["question"],
                    ]
                    + [answer["text"] for answer in known]
                )
                where = f"{path}, article {title}, paragraph {number}, question {name}"
                starts = [answer["answer_start"] for answer in known]
                answers = tuple(_answers(texts, starts, context, where))
                yield title, SpanExample(where, name, asked, context, answers)


def _check_impossible(question: dict[str, Any], where: str) -> None:
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
        found = context[start : start + len(text)]
        if not text or start < 0 or found != text:
            raise InputError(
                f"{where}: the answer '{text}' does not stand in the context at {start} (there: "
                f"'{found}'): correct answer_start"
            )
        yield text, start
