"""An n-gram language model for every class; the one that finds a text most probable wins.

Probabilities are interpolated with absolute discounting (Ney et al., 1994): d is taken off every
count, and what is gained goes to the next shorter history, at last to equal shares of the
vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import softmax

DISCOUNT = 0.75
START, END = "<s>", "</s>"


class NgramModel:
    """One language model.

    Args:
        texts: what it learns from.
        order: n: words of a history plus one.
        vocabulary: words that any text may hold, unknown ones counting as one more.
    """

    def __init__(self, texts: Sequence[str], order: int, vocabulary: int) -> None:
        self.order, self.vocabulary = order, vocabulary
        self.counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.tokens = 0
        for text in texts:
            for history, word in events(text, order):
                self.tokens += 1
                # All shorter histories too, down to none, which probabilities are mixed from.
                for start in range(order):
                    self.counts[history[start:]][word] += 1
        self.totals = {history: counter.total() for history, counter in self.counts.items()}

    @property
    def types(self) -> int:
        """Different words that it has seen."""
        return len(self.counts[()]) - (END in self.counts[()])

    def probability(self, word: str, history: tuple[str, ...]) -> float:
        """P(word | history), above 0 for every word."""
        value = 1 / (self.vocabulary + 2)  # the unknown word and the end
        # From the shortest history, none, to the longest: `value` is the word's probability after
        # the one before, and gets the share that this one's discounts leave over, one a word seen.
        # A history that was never seen says nothing, and leaves the shorter one's word.
        for start in reversed(range(len(history) + 1)):
            seen = self.counts.get(history[start:])
            if seen:
                total = self.totals[history[start:]]
                own = max(seen[word] - DISCOUNT, 0) / total
                value = own + DISCOUNT * len(seen) / total * value
        return value

    def log_probability(self, text: str) -> float:
        """ln P(text), its end included."""
        return sum(math.log(self.probability(w, h)) for h, w in events(text, self.order))


class NgramClassifier:
    """The class with the highest P(class) P(text | class)."""

    def __init__(self, order: int = 2) -> None:
        self.order = order

    def fit(self, texts: Sequence[str], classes: Sequence[int]) -> NgramClassifier:
        """One model a class."""
        words = {word for text in texts for word in words_of(text)}
        numbers = range(max(classes) + 1)
        own = [[t for t, c in zip(texts, classes) if c == number] for number in numbers]
        self.models = [NgramModel(part, self.order, len(words)) for part in own]
        with np.errstate(divide="ignore"):  # a class without texts is never chosen
            self.log_prior = np.log([len(part) / len(texts) for part in own])
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable class of each text."""
        classes: np.ndarray = self.predict_proba(texts).argmax(1)
        return classes

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """P(class | text), (texts, classes)."""
        joint = self.log_prior + [[m.log_probability(t) for m in self.models] for t in texts]
        shares: np.ndarray = softmax(joint, axis=1)
        return shares

    def perplexities(self, texts: Sequence[str], classes: Sequence[int]) -> np.ndarray:
        """(class of the text, class of the model): perplexity per word, ends included.

        NaN for a class without texts.
        """
        numbers = range(len(self.models))
        table = np.full((len(numbers), len(numbers)), np.nan)
        for row in numbers:
            own = [text for text, c in zip(texts, classes) if c == row]
            words = sum(len(words_of(text)) + 1 for text in own)
            for column, model in enumerate(self.models if own else ()):
                total = sum(model.log_probability(text) for text in own)
                table[row, column] = math.exp(-total / words)
        return table


def words_of(text: str) -> list[str]:
    """What stands between spaces, in small letters."""
    return text.lower().split()


def events(text: str, order: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """(history of order - 1 words, word) for every word and the end."""
    words = [START] * (order - 1) + words_of(text) + [END]
    for place in range(order - 1, len(words)):
        yield tuple(words[place - order + 1 : place]), words[place]
