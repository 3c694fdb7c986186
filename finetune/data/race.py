"""RACE (Lai et al., 2017): questions about a passage, with options.

A file of the original distribution holds one passage as JSON; its folders (train/high, ...) are
read as a whole. A .json with a list, or a .jsonl, holds many.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from finetune.data.tables import load_json, read_text, suffix_of
from finetune.example import ChoiceExample
from pretrain.data.encoding import Decoder, Encoding, lines_of


def read_race(path: Path, encoding: Encoding | None = None) -> list[ChoiceExample]:
    """All questions of a file or folder; `InputError` names the passage that is wrong.

    Bad bytes are counted over all files, by question.
    """
    decoder = (encoding or Encoding()).decoder(str(path), "question")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    examples = [example for file in files for example in _read_file(file, decoder)]
    if not examples:
        raise InputError(f"{path}: no questions: name a file or folder with at least one")
    decoder.finish()
    return examples


def _read_file(path: Path, decoder: Decoder) -> Iterator[ChoiceExample]:
    text = read_text(path, decoder)
    pieces = lines_of(io.StringIO(text)) if suffix_of(path) == ".jsonl" else [text]
    number = 0
    for line, piece in enumerate(pieces, start=1):
        piece = piece.removeprefix("\ufeff")
        if not piece.strip():
            continue
        try:
            content = load_json(piece, str(path), line)
        except InputError as error:
            raise decoder.blame(text, error) from error
        for passage in content if isinstance(content, list) else [content]:
            number += 1
            yield from _questions(passage, f"{path}, passage {number}", decoder)


def _questions(passage: dict[str, Any], where: str, decoder: Decoder) -> Iterator[ChoiceExample]:
    try:
        rows = zip(passage["questions"], passage["options"], passage["answers"], strict=True)
        name = str(passage.get("id", where.rpartition("/")[2]))
        for number, (question, options, answer) in enumerate(rows, start=1):
            place = f"{where}, question {number}"
            target = _target(answer, len(options), place)
            title, context, asked, *choices = decoder.plain(
                [f"{name}-{number}", passage["article"], question, *map(str, options)]
            )
            yield ChoiceExample(place, title, context, asked, tuple(choices), target)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
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
