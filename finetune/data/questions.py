"""Files of questions: of SQuAD 1.1 and 2.0 (Rajpurkar et al., 2016, 2018), about paragraphs of
articles; of RACE (Lai et al., 2017), about a passage and with options.

A file of RACE's original distribution holds one passage as JSON; its folders (train/high, ...) are
read as a whole. A .json with a list, or a .jsonl, holds many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs.errors import InputError
from configs.system.json_files import shown
from finetune.data.example import ChoiceExample, SpanExample
from finetune.data.json_rows import Json, load_json, parsed
from finetune.data.tables import read_text, suffix_of
from pretrain.text.encoding import Decoder, Encoding


def read_squad(path: Path, encoding: Encoding | None = None) -> list[SpanExample]:
    """The questions of a file.

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
        examples = [
            example
            for number, article in enumerate(articles, start=1)
            for example in _article(path, number, article, decoder)
        ]
    except InputError as error:
        raise decoder.blame(text, error) from error
    cure = "add them ([] for a question that has none)"
    _check(path, examples, f"no 'answers' where other questions have them: {cure}")
    twice, count = Counter(example.id for example in examples).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: the question id {twice} occurs twice: remove one")
    decoder.finish()
    return examples


def _check(path: Path, examples: Sequence[SpanExample | ChoiceExample], uneven: str) -> None:
    """Raise `InputError` for no question at all, or for answers to some of them only."""
    if not examples:
        raise InputError(f"{path}: no questions: name a file or folder with at least one")
    without = next((example for example in examples if not example.is_labelled), None)
    if without and any(example.is_labelled for example in examples):
        raise InputError(f"{without.where}: {uneven}")


def _article(path: Path, number: int, article: Json, decoder: Decoder) -> Iterator[SpanExample]:
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
    article: str, context: str, question: Json, where: str, number: int, decoder: Decoder
) -> SpanExample:
    """One question; `number` is how messages call it where it has no id."""
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
    return SpanExample(where, name, asked, context, None if known is None else answers, article)


def _check_impossible(question: Json, where: str) -> None:
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
    _check(path, examples, "no answers where other passages have them: add them")
    decoder.finish()
    return examples


def _read_file(path: Path, decoder: Decoder) -> Iterator[ChoiceExample]:
    text = read_text(path, decoder)
    try:
        passages = list(parsed(path, text, suffix_of(path)))
    except InputError as error:
        raise decoder.blame(text, error) from error
    for number, passage in enumerate(passages, start=1):
        yield from _questions(passage, f"{path}, passage {number}", decoder)


def _questions(passage: Json, where: str, decoder: Decoder) -> Iterator[ChoiceExample]:
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
        raise InputError(f"{where}: the answer '{answer}' is none of {options} options (A, B, ...)")
    return place
