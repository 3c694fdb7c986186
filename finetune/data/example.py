"""What flows from files to tasks: examples as read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar


@dataclass(frozen=True)
class TextExample:
    """A text, or a pair, with a label or number."""

    where: str
    """file and row, for messages"""
    id: str
    text: str
    pair: str | None
    target: int | float | None
    """index into the task's labels, or a number; None where it is to be predicted"""
    raw: str = ""
    """the text before preprocessing"""
    is_short: bool = False
    """fewer words than task.preprocess.minimum_words"""

    @property
    def is_labelled(self) -> bool:
        """Whether its answer can be scored."""
        return self.target is not None

    @property
    def label(self) -> int:
        """Of a labelled text: its class, as an index into the task's labels."""
        assert isinstance(self.target, int), f"{self.where} has no class"
        return self.target

    @property
    def number(self) -> float:
        """Of a labelled text: the number that regression learns."""
        assert self.target is not None, f"{self.where} has no number"
        return self.target


@dataclass(frozen=True)
class SpanExample:
    """A question about a context (SQuAD)."""

    where: str
    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...] | None
    """(text, start in characters) of each accepted answer; empty: it has no answer; None: it is to
    be predicted"""

    @property
    def is_labelled(self) -> bool:
        """Whether its answer can be scored."""
        return self.answers is not None

    @property
    def accepted(self) -> list[str]:
        """The texts of its accepted answers; none where it has no answer."""
        return [text for text, _ in self.answers or ()]


@dataclass(frozen=True)
class ChoiceExample:
    """A question with options (RACE)."""

    where: str
    id: str
    context: str
    question: str
    options: tuple[str, ...]
    target: int | None

    @property
    def is_labelled(self) -> bool:
        """Whether its answer can be scored."""
        return self.target is not None


@dataclass(frozen=True)
class TagExample:
    """A sentence whose words, or characters, carry labels (CoNLL)."""

    where: str
    id: str
    words: tuple[str, ...]
    targets: tuple[int, ...]
    """indexes into the task's labels"""
    is_labelled: ClassVar[bool] = True


Example = TypeVar("Example", TextExample, SpanExample, ChoiceExample, TagExample)
AnyExample = TextExample | SpanExample | ChoiceExample | TagExample


@dataclass(frozen=True)
class Splits(Generic[Example]):
    """The examples of a task."""

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    labels: tuple[str, ...] = ()
    """all labels, in the order of tables"""
    notes: tuple[str, ...] = ()
    """what a reader of the results should know: rows repaired, left out, duplicated"""
    further: dict[str, list[Example]] = field(default_factory=dict)
    """of further files, by name"""

    @classmethod
    def of(
        cls,
        parts: Mapping[str, list[Example]],
        labels: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Splits[Example]:
        """From the examples of train, dev, perhaps test, and further files, by name."""
        own = {name: parts.get(name, []) for name in ("train", "dev", "test")}
        further = {name: part for name, part in parts.items() if name not in own}
        return cls(**own, labels=tuple(labels), notes=tuple(notes), further=further)

    @property
    def evaluated(self) -> dict[str, list[Example]]:
        """dev, test and further examples by name, those there are; some may have no labels."""
        parts = {"dev": self.dev, "test": self.test, **self.further}
        return {name: part for name, part in parts.items() if part}


def are_labelled(examples: Sequence[Any]) -> bool:
    """Whether answers to a file's examples can be scored: readers see that all can or none."""
    return bool(examples) and examples[0].is_labelled


def digest_examples(splits: Splits[Any]) -> str:
    """sha256 of all examples, wherever their files lie."""
    hasher = hashlib.sha256()
    parts = (splits.train, *splits.evaluated.values())
    for example in chain.from_iterable(parts):
        hasher.update(repr(replace(example, where="")).encode())
    return hasher.hexdigest()
