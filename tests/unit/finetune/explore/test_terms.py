"""Counts of terms by hand, log-odds by the formula as the paper writes it."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from finetune.explore.task_data import clean_by_steps
from finetune.explore.terms import (
    Terms,
    choose_terms,
    count_terms,
    keep_hashtags,
    log_odds,
    term_steps,
)

TEXTS = ["panic buying panic", "hand sanitizer", "panic hand", "store"]
CLASSES = [0, 1, 1, 2]


def test_words_are_counted_by_class():
    terms = count_terms(TEXTS, CLASSES, 3)
    assert terms.names.tolist() == ["buying", "hand", "panic", "sanitizer", "store"]
    assert terms.counts_CF.tolist() == [[1, 0, 2, 0, 0], [0, 2, 1, 1, 0], [0, 0, 0, 0, 1]]
    assert terms.texts_F.tolist() == [1, 2, 2, 1, 1]


def test_bigrams_do_not_cross_texts():
    terms = count_terms(TEXTS, CLASSES, 3, words=2)
    assert terms.names.tolist() == ["buying panic", "hand sanitizer", "panic buying", "panic hand"]
    assert terms.counts_CF.sum() == 4


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("#CoronaVirus: COVID-19 &amp; Hand-Sanitizer!", "#coronavirus covid 19 hand sanitizer"),
        ("@who isn't at https://a.b/#x #covid_19#hoarding", "#covid_19 #hoarding"),
        ("___ they’re 2m apart &#39;_a_&#39; # 😀", "they’re 2m apart _a_"),
        ("코로나#확진 हिन्दी", "코로나 #확진 हिन्दी"),
    ],
)
def test_digits_hashtags_and_contractions_are_terms(text: str, terms: str):
    assert clean_by_steps([text], term_steps("nltk"))[1] == [terms]


def test_hashtags_among_terms():
    assert keep_hashtags("stay #home 19 #covid19 #") == "#home #covid19 #"


def test_hashtags_count_with_their_sign():
    terms = count_terms(["#a b", "a #a"], [0, 1], 2)
    assert dict(zip(terms.names, terms.counts_CF.sum(0))) == {"#a": 2, "a": 1, "b": 1}


def test_what_a_class_lacks_is_not_frequent_in_it():
    terms = count_terms(["a a", "b"], [0, 1], 2)
    assert [[t.name for t in row] for row in choose_terms(terms, "frequent", 5)] == [["a"], ["b"]]


def test_no_terms():
    assert count_terms(["", " "], [0, 1], 2) is None
    assert count_terms(["one", "two"], [0, 1], 2, words=2) is None


def test_merged_classes_add_up():
    merged = count_terms(TEXTS, CLASSES, 3).merged([0, 1, 0])
    assert merged.counts_CF.tolist() == [[1, 0, 2, 0, 1], [0, 2, 1, 1, 0]]


def test_log_odds_as_written_in_the_paper():
    counts = np.array([[9, 1, 4, 0], [2, 5, 4, 1], [0, 3, 6, 2]])
    found = log_odds(counts)
    total, size = counts.sum(), counts.shape[1]
    for i, own in enumerate(counts):
        rest = counts.sum(0) - own
        for w in range(size):
            prior = size * counts[:, w].sum() / total
            first = (own[w] + prior) / (own.sum() + size - own[w] - prior)
            second = (rest[w] + prior) / (rest.sum() + size - rest[w] - prior)
            variance = 1 / (own[w] + prior) + 1 / (rest[w] + prior)
            assert found[i, w] == pytest.approx((log(first) - log(second)) / sqrt(variance))


def test_log_odds_of_two_classes_are_opposite():
    found = log_odds(np.array([[9, 1, 4], [2, 5, 4]]))
    np.testing.assert_allclose(found[0], -found[1])


def test_a_frequent_difference_beats_a_rare_one():
    """`b` is in one class only, but once; `a` is three times as likely in it, but often."""
    found = log_odds(np.array([[300, 1, 700], [100, 0, 900]]))
    assert found[0, 0] > 5 > 2 > found[0, 1] > 0


def test_one_term_alone_has_a_finite_score():
    assert np.isfinite(log_odds(np.array([[3], [1]]))).all()


def test_the_best_terms():
    terms = Terms(np.array(["a", "b", "c"]), np.array([[5, 5, 1], [1, 5, 5]]), np.array([3, 3, 3]))
    assert [term.name for term in choose_terms(terms, "frequent", 2)[0]] == ["a", "b"]
    first, second = choose_terms(terms, "typical", 3)
    assert [term.name for term in first] == ["a"] and first[0].count == 5
    assert [term.name for term in second] == ["c"]
