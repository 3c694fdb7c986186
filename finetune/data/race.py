"""RACE (Lai et al., 2017): questions about a passage, with options.

A file of the original distribution holds one passage as JSON; its folders (train/high, ...) are
read as a whole. A .json with a list, or a .jsonl, holds many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from finetune.data.tables import read_text
from finetune.example import ChoiceExample


def read_race(path: Path) -> list[ChoiceExample]:
    """All questions of a file or folder; `InputError` names the passage that is wrong."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    examples = [example for file in files for example in _read_file(file)]
    if not examples:
        raise InputError(f"{path}: no questions: name a file or folder with at least one")
    return examples


def _read_file(path: Path) -> Iterator[ChoiceExample]:
    text = read_text(path)
    pieces = text.split("\n") if ".jsonl" in path.suffixes else [text]
    number = 0
    for piece in filter(str.strip, pieces):
        try:
            content = json.loads(piece)
        except ValueError as error:
            raise InputError(f"{path}, passage {number + 1}: broken JSON ({error})") from error
        for passage in content if isinstance(content, list) else [content]:
            number += 1
            yield from _questions(passage, f"{path}, passage {number}")


def _questions(passage: dict[str, Any], where: str) -> Iterator[ChoiceExample]:
    try:
        rows = zip(passage["questions"], passage["options"], passage["answers"], strict=True)
        name = str(passage.get("id", where.rpartition("/")[2]))
        for number, (question, options, answer) in enumerate(rows, start=1):
            place = f"{where}, question {number}"
            target = _target(answer, len(options), place)
            context, choices = passage["article"], tuple(map(str, options))
            yield ChoiceExample(place, f"{name}-{number}", context, question, choices, target)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: not of RACE's form ({error}): it has article, questions, options, answers, "
            "the last three equally long"
        ) from error


def _target(answer: str, options: int, where: str) -> int:
    place = ord(answer) - ord("A") if len(answer) == 1 else -1
    if not 0 <= place < options:
        raise InputError(
            f"{where}: the answer '{answer}' names none of {options} options (A, B, ...)"
        )
    return place
