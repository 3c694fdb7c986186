"""CoNLL's columns: a word, or a character, a line with its label last; blank lines between
sentences."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from configs.errors import InputError
from finetune.data.tables import read_text
from pretrain.text.encoding import Encoding, lines_of

LABEL = re.compile(r"O|[BI]-\S+")
OTHER_SCHEME = re.compile(r"[SELUM]-\S+")
SPACES = re.compile(" +")
"""between columns: not `str.split`, since a no-break or ideographic space may be a word"""
DOCUMENT = "-DOCSTART-"
COMMENT = re.compile(r"#{1,2}[ \t]")
"""`## ` of KLUE, `# ` of CoNLL-U, `#` and a tab of GermEval"""
TOLERATED = 0.01


@dataclass(frozen=True)
class Sentence:
    """Words and labels."""

    path: Path
    line: int
    """of its first word"""
    words: tuple[str, ...]
    labels: tuple[str, ...]
    is_labelled: ClassVar[bool] = True

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}, line {self.line}"


def read_conll(path: Path, encoding: Encoding) -> list[Sentence]:
    """The sentences of a file; the notes of `encoding` tell what was left out or rewritten.

    Columns are cut at tabs if the first word's line has one, else at spaces; a word may then be a
    space itself, as in KLUE's files. A line whose last cell is a label is a word, whatever it
    begins with. Comments stand before a sentence and begin with `# ` or `## `; a line that begins
    with the cell `-DOCSTART-` ends a sentence. Labels of the scheme IOB1, in which B- only divides
    neighbours, become BIO.

    Raises:
        InputError: a line without a word or a label or with more columns than the first, a label
            that is not O, B-... or I-..., entities that begin with I- here and with B- there, or
            more sentences with bad bytes than `encoding` lets pass.
    """
    decoder = encoding.decoder(str(path), "sentence")
    text = read_text(path, decoder)
    reader = _Reader(path, list(lines_of(io.StringIO(text))))
    try:
        sentences = list(reader.sentences())
    except InputError as error:
        raise decoder.blame(text, error) from error
    if not sentences:
        raise InputError(f"{path}: no sentences: name a file with at least one")
    for place, s in enumerate(sentences):
        plain, size = decoder.plain([*s.words, *s.labels]), len(s.words)
        sentences[place] = replace(s, words=tuple(plain[:size]), labels=tuple(plain[size:]))
    decoder.finish()
    _refuse_numbers(sentences)
    if reader.no_words:
        encoding.notes.append(
            f"{path.name}: {reader.no_words:,} lines that are no words (comments, {DOCUMENT}) were "
            "left out"
        )
    if reader.padded:
        encoding.notes.append(
            f"{path.name}: {reader.padded:,} labels had spaces behind them; they were cut"
        )
    return _as_bio(sentences, encoding.notes)


class _Reader:
    """One file's lines, and what was found among them beside words."""

    def __init__(self, path: Path, lines: list[str]) -> None:
        self.path, self.lines = path, lines
        # The first line that is surely a word shows how columns are cut, and how many there are.
        filled = [(n, line) for n, line in enumerate(lines, start=1) if line.strip(" \t")]
        plain = [pair for pair in filled if not pair[1].startswith(("#", DOCUMENT))]
        self.model_line, model = (plain or filled or [(1, "")])[0]
        self.separator = "\t" if "\t" in model else " "
        self.columns = len(self.cut(model))
        self.no_words = self.padded = 0

    def cut(self, line: str) -> list[str]:
        """The cells of a line; one empty one for a line of spaces."""
        if self.separator == " ":
            if not line.strip(" \t"):
                return [""]
            return SPACES.split(line.rstrip(" "))
        *cells, last = line.split("\t")
        return [*cells, last.strip(" ") if cells else last]

    def sentences(self) -> Iterator[Sentence]:
        """Runs of words; a blank line, a comment or DOCUMENT ends one."""
        rows: list[tuple[str, str]] = []
        first = 1
        for number, line in enumerate(self.lines, start=1):
            cells = self.cut(line)
            is_comment = not rows and self.is_comment(line, cells)
            if not any(cells) or is_comment or cells[0] == DOCUMENT:
                if any(cells):
                    self.no_words += 1
                if rows:
                    yield Sentence(self.path, first, *zip(*rows))
                rows = []
                continue
            first = first if rows else number
            rows.append(self.row(number, line, cells))
        if rows:
            yield Sentence(self.path, first, *zip(*rows))

    def is_comment(self, line: str, cells: list[str]) -> bool:
        """Whether a line before a sentence has the form of a comment, and not that of a word."""
        at_tabs = self.separator == "\t"
        is_word = at_tabs and len(cells) == self.columns and not cells[0].strip("#")
        return bool(COMMENT.match(line)) and not is_word and not LABEL.fullmatch(cells[-1])

    def row(self, number: int, line: str, cells: list[str]) -> tuple[str, str]:
        """(word, label); `InputError` names the line that lacks one."""
        where = f"{self.path}, line {number}: "
        cut = f"columns are cut at {'spaces' if self.separator == ' ' else 'tabs'}"
        if len(cells) < 2:
            raise InputError(f"{where}'{line}' has no label ({cut}): give a word and its label")
        if not cells[0]:
            raise InputError(f"{where}'{line}' has no word ({cut}): give a word and its label")
        if not LABEL.fullmatch(cells[-1]):
            is_other = OTHER_SCHEME.fullmatch(cells[-1])
            cure = " (write S- and U- as B-; E-, L- and M- as I-)" if is_other else ""
            raise InputError(
                f"{where}the label '{cells[-1]}' is neither O nor B-... nor I-...: convert the "
                f"file to BIO{cure}"
            )
        if len(cells) != self.columns:
            raise InputError(
                f"{where}'{line}' has {len(cells)} columns where line {self.model_line} has "
                f"{self.columns} ({cut}): repair it"
            )
        if line.endswith(" "):
            self.padded += 1
        return cells[0], cells[-1]


def _refuse_numbers(sentences: list[Sentence]) -> None:
    """Raise `InputError` where the first column counts the words, as in CoNLL-U and GermEval."""
    counted = all(
        sentence.words == tuple(map(str, range(1, len(sentence.words) + 1)))
        for sentence in sentences
    )
    if counted and any(len(sentence.words) > 1 for sentence in sentences):
        raise InputError(
            f"{sentences[0].where}: the first column numbers the words: remove it, so that the "
            "word stands first and its label last"
        )


def _as_bio(sentences: list[Sentence], notes: list[str]) -> list[Sentence]:
    """The sentences in BIO, with a note where that changed labels or could not.

    In BIO every entity begins with B-. In IOB1, that of CoNLL-2003's own files, one begins with I-
    unless it follows another of its kind.
    """
    # Entities that begin with I-, and labels B- that follow no entity of their kind: a file in
    # IOB1 has none of these, since there B- only divides neighbours of one kind.
    opened = [(s, place) for s in sentences for place in _places(s, "I")]
    plain = sum(len(_places(s, "B")) for s in sentences)
    if not opened:
        return sentences
    first, place = opened[0]
    name, line = first.path.name, first.line + place
    if not plain:
        notes.append(
            f"{name}: entities begin with I- (the scheme IOB1, line {line}); {len(opened):,} "
            "labels were rewritten as B- (BIO)"
        )
        marks = ({place: "B" for place in _places(s, "I")} for s in sentences)
        return [
            replace(s, labels=tuple(f"{own.get(n, x[0])}{x[1:]}" for n, x in enumerate(s.labels)))
            for s, own in zip(sentences, marks)
        ]
    total = len(opened) + sum(label[0] == "B" for s in sentences for label in s.labels)
    counted = f"{len(opened):,} of {total:,} entities begin with I-, the others with B-"
    if len(opened) > TOLERATED * total:
        raise InputError(
            f"{first.path}, line {line}: '{first.labels[place]}' follows no entity of its kind; "
            f"{counted}: correct the labels (BIO: every entity begins with B-)"
        )
    notes.append(f"{name}: {counted} (the first in line {line}); they count all the same")
    return sentences


def _places(sentence: Sentence, mark: str) -> list[int]:
    """Where labels with a mark follow no entity of their kind."""
    pairs = zip(("O", *sentence.labels), sentence.labels)
    return [
        place
        for place, (before, label) in enumerate(pairs)
        if label[0] == mark and before[1:] != label[1:]
    ]
