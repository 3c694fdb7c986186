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
from configs.system.json_files import shown
from finetune.data.example import ChoiceExample
from finetune.data.json_rows import load_json
from finetune.data.tables import read_text, suffix_of
from pretrain.text.encoding import Decoder, Encoding, lines_of


def read_race(path: Path, encoding: Encoding | None = None) -> list[ChoiceExample]:
    """All questions of a file or folder; `InputError` names the passage that is wrong.

    Hidden files of a folder are none of its passages; answers may be missing, from all. Bad bytes
    are counted over all files, by question.
    """
    decoder = (encoding or Encoding()).decoder(str(path), "question")
    files = [path]
    if path.is_dir():
        inside = (p.relative_to(path) for p in path.rglob("*") if p.is_file())
        visible = (p for p in inside if not any(part.startswith(".") for part in p.parts))
        files = [path / p for p in sorted(visible)]
    examples = [example for file in files for example in _read_file(file, decoder)]
    if not examples:
        raise InputError(f"{path}: no questions: name a file or folder with at least one")
    without = next((example for example in examples if not example.is_labelled), None)
    if without and any(example.is_labelled for example in examples):
        raise InputError(f"{without.where}: no answers where other passages have them: add them")
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
        questions, options = passage["questions"], passage["options"]
        answers = passage.get("answers") or [None] * len(questions)
        name = str(passage.get("id", where.rpartition("/")[2]))
        rows = zip(questions, options, answers, strict=True)
        for number, (question, choices, answer) in enumerate(rows, start=1):
            place = f"{where}, question {number}"
            target = None if answer is None else _target(answer, len(choices), place)
            texts = [_text(choice, "option", place) for choice in choices]
            texts = [_text(question, "question", place), *texts]
            title, context, asked, *choices = decoder.plain(
                [f"{name}-{number}", _text(passage["article"], "article", place), *texts]
            )
            yield ChoiceExample(place, title, context, asked, tuple(choices), target)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where}: not of RACE's form ({error}): it has article, questions, options, answers, "
            "the last three equally long"
        ) from error


def _text(value: object, name: str, where: str) -> str:
    """A string, or a number as one."""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{where}: the {name} is {shown(value)}, no text: correct it")


def _target(answer: object, options: int, where: str) -> int:
    """The place of the option that an answer's letter names."""
    is_letter = isinstance(answer, str) and len(answer) == 1
    place = ord(str(answer)) - ord("A") if is_letter else -1
    if not 0 <= place < options:
        raise InputError(
            f"{where}: the answer '{answer}' names none of {options} options (A, B, ...)"
        )
    return place
