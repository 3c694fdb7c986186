"""A label for every word, or every character (BERT, figure 4 d)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from configs.errors import InputError
from finetune.data.conll import Sentence, read_conll
from finetune.data.example import Splits, TagExample, read_parts
from finetune.scoring.metrics import tagging_scores
from finetune.tasks.task import (
    Feature,
    Located,
    Rows,
    Scores,
    Settings,
    Task,
    locate,
    window_starts,
)
from pretrain.model.loss import IGNORED
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class TagFeature(Feature):
    """A window over a sentence that knows the words of its own tokens.

    Where windows overlap, the tokens of the first half are the left one's, the others the right
    one's, so that each token is labelled once and has context on both sides.
    """

    skipped: int
    """tokens before the first of its own, CLS included"""
    first: np.ndarray
    """the word in which each of its own tokens begins"""
    last: np.ndarray
    """the word in which it ends: another one only where words are characters"""


class TaggingTask(Task[TagExample, TagFeature, list[int]]):
    """An answer is one label's place for every word; long sentences are read in windows.

    The first piece of a word carries its label, the others none (BERT, section 5.3).
    """

    default_metric = "f1"

    @property
    def gap(self) -> str:
        """What stands between two words."""
        return "" if self.config.joined_characters else " "

    @override
    def read(self) -> Splits[TagExample]:
        parts, notes = read_parts(self.config, read_conll, lambda s: " ".join(s.words))
        learnt = sorted({label for sentence in parts["train"] for label in sentence.labels} - {"O"})
        self.labels = tuple(self.config.labels or ["O", *learnt])
        examples = {name: [self._example(s) for s in part] for name, part in parts.items()}
        notes += [
            note
            for name, part in parts.items()
            if name != "train"
            for note in _absent(learnt, name, part)
        ]
        return Splits(examples, self.labels, tuple(notes))

    def _example(self, sentence: Sentence) -> TagExample:
        places = {label: place for place, label in enumerate(self.labels)}
        unknown = [label for label in sentence.labels if label not in places]
        if unknown:
            raise InputError(
                f"{sentence.where}: the label '{unknown[0]}' is not in train, so it cannot be "
                f"learnt: the labels are {', '.join(self.labels)}"
            )
        targets = tuple(places[label] for label in sentence.labels)
        return TagExample(sentence.where, sentence.where, sentence.words, targets)

    @override
    def features(self, examples: Sequence[TagExample], tokenizer: Tokenizer) -> list[TagFeature]:
        located = locate(tokenizer, [self.gap.join(example.words) for example in examples])
        return [
            feature
            for number, (example, tokens) in enumerate(zip(examples, located))
            for feature in self._windows(number, example, tokens, tokenizer)
        ]

    def _windows(
        self, number: int, example: TagExample, located: Located, tokenizer: Tokenizer
    ) -> Iterator[TagFeature]:
        special, room = tokenizer.special, self.max_length - 2
        lengths = np.array([len(word) + len(self.gap) for word in example.words])
        word_starts = np.cumsum(lengths) - lengths  # in characters of the running text
        # The last word that starts at or before a token's first character is the one it begins in.
        first = np.searchsorted(word_starts, located.starts, side="right") - 1
        last = np.searchsorted(word_starts, located.ends - 1, side="right") - 1
        # Only the first token of a word learns its label (BERT, section 5.3): words would else
        # count by the number of their pieces, which differs from tokenizer to tokenizer.
        begins = np.diff(first, prepend=-1) > 0
        wanted = np.where(begins, np.array(example.targets)[first], IGNORED)
        starts = list(window_starts(len(located), room, self.config.stride))
        # Two windows overlap from the second's start to the first's end; each owns half of that, so
        # that a token is labelled, and learnt from, where it sees most on both of its sides.
        middles = [(start + before + room) // 2 for before, start in zip(starts, starts[1:])]
        bounds = [0, *middles, len(located)]
        for start, lower, upper in zip(starts, bounds, bounds[1:]):
            ids = np.concatenate([[special.cls], located.ids[start : start + room], [special.sep]])
            targets = np.full(len(ids), IGNORED)
            skipped = 1 + lower - start  # CLS, and the tokens that the window before owns
            targets[skipped : skipped + upper - lower] = wanted[lower:upper]
            own = (first[lower:upper], last[lower:upper])
            yield TagFeature(number, (ids,), (np.zeros_like(ids),), targets, skipped, *own)

    @override
    def reading_notes(
        self, name: str, examples: Sequence[TagExample], features: Sequence[TagFeature]
    ) -> Iterator[str]:
        """Nothing is cut, but long sentences are read in windows; some words have no token."""
        counts = np.bincount([feature.example for feature in features], minlength=len(examples))
        yield (
            f"{name}: no word is cut; {(counts > 1).sum():,} of {len(examples):,} sentences are "
            f"longer than max_length={self.max_length} tokens and are read in windows"
        )
        unread = sum(map(len, self._unread(examples, features)))
        if unread:
            words = sum(len(example.words) for example in examples)
            yield f"{name}: {unread:,} of {words:,} words have no token, so they are labelled O"

    def _unread(
        self, examples: Sequence[TagExample], features: Sequence[TagFeature]
    ) -> list[set[int]]:
        """Of each sentence the words without a token; where words are characters, but for spaces,
        which continue their entity."""
        unread = [set(range(len(example.words))) for example in examples]
        for feature in features:
            for first, last in zip(feature.first.tolist(), feature.last.tolist()):
                unread[feature.example].difference_update(range(first, last + 1))
        if not self.config.joined_characters:
            return unread
        return [
            {place for place in places if not example.words[place].isspace()}
            for example, places in zip(examples, unread)
        ]

    @override
    def answers(
        self,
        examples: Sequence[TagExample],
        features: Sequence[TagFeature],
        logits: Sequence[np.ndarray],
        settings: Settings,
    ) -> list[list[int]]:
        labelled: list[list[tuple[int, int, int]]] = [[] for _ in examples]
        for feature, rows in zip(features, logits):
            own = rows[feature.skipped : feature.skipped + len(feature.first)].argmax(1)
            pieces = zip(own.tolist(), feature.first.tolist(), feature.last.tolist())
            labelled[feature.example].extend(pieces)
        return [self._spread(own, len(example.words)) for own, example in zip(labelled, examples)]

    def _spread(self, pieces: list[tuple[int, int, int]], words: int) -> list[int]:
        """Labels of words from (label, first word, last word) of tokens: that of the first piece.

        Where words are characters, a piece's other characters continue its entity, and a space
        continues the entity of the piece behind it.
        """
        given: list[int | None] = [None] * words
        for label, first, last in pieces:
            for word in range(first, last + 1):
                if given[word] is None:
                    given[word] = label if word == first else self._continued(label)
        follower = outside = self.labels.index("O")
        spread = []
        # From the end, since a word without a piece (a space) asks for the label behind it: inside
        # an entity only if that continues there.
        for known in reversed(given):
            if known is not None:
                follower = known
            elif not (self.config.joined_characters and self.labels[follower].startswith("I-")):
                follower = outside
            spread.append(follower)
        return spread[::-1]

    def _continued(self, label: int) -> int:
        """B-x as I-x, where there is such a label."""
        inside = f"I-{self.labels[label][2:]}"
        return self.labels.index(inside) if inside in self.labels else label

    @override
    def scores(self, examples: Sequence[TagExample], answers: Sequence[list[int]]) -> Scores:
        named = [[self.labels[place] for place in answer] for answer in answers]
        gold = [[self.labels[place] for place in example.targets] for example in examples]
        return tagging_scores(gold, named)

    @override
    def rows(self, examples: Sequence[TagExample], answers: Sequence[list[int]]) -> Rows:
        for example, answer in zip(examples, answers):
            yield {
                "id": example.id,
                "words": self.gap.join(example.words),
                "label": " ".join(self.labels[place] for place in example.targets),
                "prediction": " ".join(self.labels[place] for place in answer),
            }


def _absent(labels: Sequence[str], name: str, sentences: Sequence[Sentence]) -> Iterator[str]:
    """A note on the kinds of entities that a split does not hold."""
    held = {label[2:] for sentence in sentences for label in sentence.labels}
    absent = sorted({label[2:] for label in labels} - held)
    if sentences and held == {""}:
        yield f"{name}: no entity: f1 is 1 where none is found, else 0"
    elif sentences and absent:
        yield f"{name}: no entity is of the kind {', '.join(absent)}: f1 says nothing about it"
