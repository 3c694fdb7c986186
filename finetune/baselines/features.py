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

__all__ = [
    "IntegerEncoder",
    "PlainTfIdf",
    "TfidfTransformer",
    "bag_of_characters",
    "bag_of_words",
    "runs_of_words",
]
WORD = r"(?u)\b\w+\b"
UNKNOWN = 1


# scikit-learn ships no types, so its classes are of type Any.
class WordCounter(CountVectorizer):  # type: ignore[misc]
    """scikit-learn's, which says in our way that the texts are too few."""

    def fit_transform(self, raw_documents: Iterable[str], y: object = None) -> sparse.csr_matrix:
        """Learn the columns and count; `InputError` where no text holds what is to be counted."""
        try:
            return super().fit_transform(raw_documents, y)
        except ValueError as error:
            wanted = f"analyzer={self.analyzer}, ngram_range={self.ngram_range}"
            raise InputError(
                f"nothing to count ({wanted}) stands in {self.min_df} training texts or more: give "
                "more texts, or name other methods, e.g. model=majority,n-gram-lm"
            ) from error


def bag_of_words(
    binary: bool = False, ngram_range: tuple[int, int] = (1, 1), min_df: int = 1
) -> CountVectorizer:
    """Counts of each word of the training texts, with scikit-learn's options.

    Args:
        binary: count a word of a text once: one-hot encoding of the words present.
        ngram_range: shortest and longest runs of words that count as words.
        min_df: least number of training texts that hold a word.
    """
    return WordCounter(binary=binary, ngram_range=ngram_range, min_df=min_df, token_pattern=WORD)


def bag_of_characters(ngram_range: tuple[int, int], min_df: int) -> CountVectorizer:
    """Counts of each run of characters within a word; options as in `bag_of_words`."""
    return WordCounter(analyzer="char_wb", ngram_range=ngram_range, min_df=min_df)


def runs_of_words(number: int) -> CountVectorizer:
    """Counts of each run of so many words, which are whatever stands between spaces."""
    runs = (number, number)
    return WordCounter(tokenizer=str.split, token_pattern=None, lowercase=False, ngram_range=runs)


class PlainTfIdf(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Counts times idf = ln(n / (1 + df)), n texts of which df hold the word.

    A word of every text gets a slightly negative weight; scikit-learn's own formula adds 1 against
    that, which is another model.

    Args:
        unit_length: divide each text by its Euclidean norm, as linear models like it.
    """

    def __init__(self, unit_length: bool = False) -> None:
        self.unit_length = unit_length

    def fit(
        self,
        counts: sparse.csr_matrix,
        y: object = None,  # noqa: ARG002 - what scikit-learn's pipelines call
    ) -> PlainTfIdf:
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

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in text.split())
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        self.places = {word: place for place, word in enumerate(ranked, start=UNKNOWN + 1)}

    def __len__(self) -> int:
        """Padding and the unknown word included."""
        return len(self.places) + UNKNOWN + 1

    def encode(self, text: str) -> list[int]:
        """One number a word."""
        return [self.places.get(word, UNKNOWN) for word in text.split()]
