"""SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016, 2018): questions about paragraphs of articles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from finetune.data.tables import read_text
from finetune.example import SpanExample


def read_squad(path: Path) -> list[tuple[str, SpanExample]]:
    """(article, question) pairs of a file.

    Raises:
        InputError: no JSON of this form, a question twice, or an answer that does not stand in its
            context where it says.
    """
    try:
        articles = json.loads(read_text(path))["data"]
        pairs = list(_examples(path, articles))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not of SQuAD's form ({type(error).__name__}: {error}): it has data, "
            "paragraphs, qas, answers"
        ) from error
    if not pairs:
        raise InputError(f"{path}: no questions: name a file with at least one")
    ids = [example.id for _, example in pairs]
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        raise InputError(f"{path}: the question id {twice} stands twice: remove one")
    return pairs


def _examples(path: Path, articles: list[dict[str, Any]]) -> Iterator[tuple[str, SpanExample]]:
    for article in articles:
        for number, paragraph in enumerate(article["paragraphs"], start=1):
            for question in paragraph["qas"]:
                where = (
                    f"{path}, article {article['title']}, paragraph {number}, question "
                    f"{question['id']}"
                )
                context = paragraph["context"]
                answers = tuple(_answers(question, context, where))
                asked = question["question"]
                yield article["title"], SpanExample(where, question["id"], asked, context, answers)


def _answers(question: dict[str, Any], context: str, where: str) -> Iterator[tuple[str, int]]:
    if question.get("is_impossible"):
        return
    for answer in question.get("answers", ()):
        text, start = answer["text"], answer["answer_start"]
        found = context[start : start + len(text)]
        if not text or start < 0 or found != text:
            raise InputError(
                f"{where}: the answer '{text}' does not stand in the context at {start} (there: "
                f"'{found}'): correct answer_start"
            )
        yield text, start
