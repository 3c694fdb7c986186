"""Which words, runs of words and hashtags are frequent, and which are typical of a class.

A term is a word or hashtag in small letters; digits count as letters, for `covid 19` says more than
`covid`, and # stays, for #coronavirus is not the word.

C classes, F terms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from finetune.baselines.linear import bag_of_tokens
from finetune.data.preprocess import FUNCTIONS, LETTER, remove_stop_words

TERM = re.compile(rf"#?(?=_*[^\W_]){LETTER}+(?:['’]{LETTER}+)*")
"""a word or hashtag with at least one letter or digit; don't is one word"""


@dataclass(frozen=True)
class Terms:
    """Runs of words of one length, counted by class."""

    names: np.ndarray
    """str (F)"""
    counts_CF: np.ndarray
    texts_F: np.ndarray
    """texts that hold the term"""

    def merged(self, places: Sequence[int]) -> Terms:
        """The same with classes added up; `places` says of each what it becomes."""
        groups = [np.flatnonzero(np.equal(places, new)) for new in range(max(places) + 1)]
        counts = np.stack([self.counts_CF[group].sum(0) for group in groups])
        return Terms(self.names, counts, self.texts_F)


@dataclass(frozen=True)
class Term:
    """A term and what it was chosen for."""

    name: str
    count: int
    score: float
    """log-odds as a multiple of its standard deviation"""


def term_steps(stop_words: str) -> list[tuple[str, Callable[[str], str]]]:
    """What makes terms, with single spaces between, of a text: steps of cleaning by name.

    Args:
        stop_words: name of the list of those that are left out.
    """
    cleaning = [(name, FUNCTIONS[name]) for name in ("entities", "links", "mentions", "lowercase")]
    rest = partial(remove_stop_words, chosen=stop_words)
    return [*cleaning, ("words and hashtags", keep_terms), (f"stop words ({stop_words})", rest)]


def keep_terms(text: str) -> str:
    """Words, hashtags and numbers; no other signs but apostrophes inside a word."""
    return " ".join(TERM.findall(text))


def keep_hashtags(terms: str) -> str:
    """The hashtags among the terms of a text."""
    return " ".join(term for term in terms.split() if term.startswith("#"))


def count_terms(
    texts: Sequence[str], classes: Sequence[int], number: int, words: int = 1
) -> Terms | None:
    """Runs of `words` words, as they stand between spaces, of texts of `number` classes.

    None where there are none.
    """
    if not any(len(text.split()) >= words for text in texts):
        return None
    counter = bag_of_tokens(ngram_range=(words, words))
    matrix = counter.fit_transform(texts)
    members = np.asarray(classes)
    counts = [np.asarray(matrix[members == c].sum(0)).ravel() for c in range(number)]
    texts_with = np.bincount(matrix.nonzero()[1], minlength=matrix.shape[1])
    return Terms(counter.get_feature_names_out(), np.stack(counts), texts_with)


def log_odds(counts_CF: np.ndarray) -> np.ndarray:
    """z-scores (C, F) of the log-odds of each term in a class against all other classes.

    The prior is an informative Dirichlet (Monroe et al., 2008, section 3.5): as many imagined words
    as there are terms, spread as the words of all classes are. Frequent terms need only a small
    difference to stand out, and rare ones cannot by chance.
    """
    total_F = counts_CF.sum(0)
    prior_F = counts_CF.shape[1] * total_F / total_F.sum()
    own = counts_CF + prior_F
    others = total_F - counts_CF + prior_F
    # The odds of a term against all other terms of its class.
    odds = [w / np.maximum(w.sum(1, keepdims=True) - w, 1e-9) for w in (own, others)]
    difference = np.log(odds[0]) - np.log(odds[1])
    scores_CF: np.ndarray = difference / np.sqrt(1 / own + 1 / others)
    return scores_CF


def choose_terms(terms: Terms, kind: str, most: int) -> list[list[Term]]:
    """Of each class at most so many terms, the highest first, equal ones by the alphabet: those
    that are `frequent` in it, or `typical`, speaking for it and not against it."""
    scores_CF = log_odds(terms.counts_CF) if kind == "typical" else terms.counts_CF
    orders = [np.argsort(-scores, kind="stable")[:most] for scores in scores_CF]
    return [
        [
            Term(str(terms.names[f]), int(terms.counts_CF[c, f]), float(scores_CF[c, f]))
            for f in row
            if scores_CF[c, f] > 0
        ]
        for c, row in enumerate(orders)
    ]
