"""Texts as numbers, the classical ways.

The rivals' matrices count words in small letters without punctuation; the data report's, and
sequences of integers, have a place for whatever stands between spaces.

Axes of every matrix: (texts, features), scipy.sparse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from configs.errors import InputError

__all__ = ["IntegerEncoder", "PlainTfIdf", "TfidfTransformer", "bag_of_words", "runs_of_words"]
WORD = r"(?u)\b\w+\b"
UNKNOWN = 1


class WordCounter(CountVectorizer):
    """scikit-learn's, which says in our way that the texts are too few."""

    def fit_transform(self, raw_documents: Iterable[str], y: object = None) -> sparse.csr_matrix:
        """Learn the columns and count; `InputError` where no text holds what is to be counted."""
        try:
            return super().fit_transform(raw_documents, y)
        except ValueError as error:
            wanted = f"analyzer={self.analyzer}, ngram_range={self.ngram_range}"
            raise InputError(
                f"nothing to count ({wanted}) stands in {self.min_df} training texts or more: give "
                "more texts, or name other methods by --rivals"
            ) from error


def bag_of_words(vocabulary: dict[str, int] | None = None, **options) -> CountVectorizer:
    """Counts of each word; `vocabulary` fixes the columns, else the words of the training texts.

    Options are scikit-learn's: `binary=True` is one-hot encoding of the words present,
    `ngram_range=(1, 2)` counts pairs as well, `analyzer="char_wb"` characters.
    """
    if options.get("analyzer", "word") == "word":
        options["token_pattern"] = WORD
    return WordCounter(vocabulary=vocabulary, **options)


def runs_of_words(number: int) -> CountVectorizer:
    """Counts of each run of so many words, which are whatever stands between spaces."""
    runs = (number, number)
    return WordCounter(tokenizer=str.split, token_pattern=None, lowercase=False, ngram_range=runs)


class PlainTfIdf(BaseEstimator, TransformerMixin):
    """Counts times idf = ln(n / (1 + df)), n texts of which df hold the word.

    A word of every text gets a slightly negative weight; scikit-learn's own formula adds 1 against
    that, which is another model.

    Args:
        unit_length: divide each text by its Euclidean norm, as linear models like it.
    """

    def __init__(self, unit_length: bool = False) -> None:
        self.unit_length = unit_length

    def fit(self, counts: sparse.csr_matrix, y: object = None) -> PlainTfIdf:
        """Learn the idf of every column."""
        frequency = np.bincount(counts.nonzero()[1], minlength=counts.shape[1])
        self.idf_ = np.log(counts.shape[0] / (1 + frequency))
        return self

    def transform(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """tf-idf of the counts."""
        weighted = counts @ sparse.diags(self.idf_)
        return normalize(weighted) if self.unit_length else weighted.tocsr()


class IntegerEncoder:
    """Words as their rank by frequency: 0 is padding, 1 an unknown word, 2 the commonest one."""

    def __init__(self, texts: Sequence[str], most: int | None = None) -> None:
        counts = Counter(word for text in texts for word in text.split())
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[:most]
        self.places = {word: place for place, word in enumerate(ranked, start=UNKNOWN + 1)}

    def __len__(self) -> int:
        """Padding and the unknown word included."""
        return len(self.places) + UNKNOWN + 1

    def encode(self, text: str) -> list[int]:
        """One number a word."""
        return [self.places.get(word, UNKNOWN) for word in text.split()]

    def one_hot(self, text: str) -> np.ndarray:
        """float32 (words, entries): a single 1 in each row."""
        return np.eye(len(self), dtype=np.float32)[self.encode(text)]
