"""Texts as numbers, against tables worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from configs.errors import InputError
from finetune.baselines.linear import (
    PlainTfIdf,
    bag_of_characters,
    bag_of_words,
)

DOCUMENTS = ["먹고 싶은 사과", "먹고 싶은 바나나", "길고 노란 바나나 바나나", "저는 과일이 좋아요"]
ONE, TWO = 0.693147, 0.287682
"""idf of a word of one, and of two, of the four documents: ln(4 / 2), ln(4 / 3)"""
TABLE = [
    {"먹고": TWO, "싶은": TWO, "사과": ONE},
    {"먹고": TWO, "싶은": TWO, "바나나": TWO},
    {"길고": ONE, "노란": ONE, "바나나": 0.575364},
    {"저는": ONE, "과일이": ONE, "좋아요": ONE},
]


def columns(texts: list[str], count=bag_of_words, **options) -> dict[str, list[float]]:
    counter = count(**options)
    counts = counter.fit_transform(texts).toarray().T.tolist()
    return dict(zip(counter.get_feature_names_out(), counts))


def test_tf_idf_of_four_documents():
    counter = bag_of_words()
    found = PlainTfIdf().fit_transform(counter.fit_transform(DOCUMENTS)).toarray()
    words = counter.get_feature_names_out().tolist()
    assert sorted(words) == sorted({word for row in TABLE for word in row})
    expected = np.array([[row.get(word, 0.0) for word in words] for row in TABLE])
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected / lengths, atol=1e-6)


def test_new_texts_are_weighed_by_the_training_texts():
    counter = bag_of_words()
    weights = PlainTfIdf().fit(counter.fit_transform(DOCUMENTS))
    found = weights.transform(counter.transform(["사과 사과 먹고 처음"])).toarray().sum()
    assert found == pytest.approx((2 * ONE + TWO) / np.hypot(2 * ONE, TWO), abs=2e-6)


def test_a_word_of_every_text_weighs_a_little_below_zero():
    counts = bag_of_words().fit_transform(["a b", "a c"])
    assert PlainTfIdf().fit(counts).idf_.tolist() == pytest.approx([np.log(2 / 3), 0, 0])


def test_one_hot_says_only_whether_a_word_is_there():
    text = "the cat cat sat in the hat"
    words = {"the": [2], "cat": [2], "sat": [1], "in": [1], "hat": [1]}
    assert columns([text]) == words
    assert columns([text], binary=True) == {word: [1] for word in words}


def test_case_and_punctuation_do_not_count_and_short_words_do():
    assert columns(["I, i -- A b!"]) == {"i": [2], "a": [1], "b": [1]}


def test_n_grams_are_runs_of_words():
    assert columns(["a b c", "b c"], ngram_range=(1, 3)) == {
        **{"a": [1, 0], "b": [1, 1], "c": [1, 1]},
        **{"a b": [1, 0], "b c": [1, 1], "a b c": [1, 0]},
    }


@pytest.mark.filterwarnings("error")
def test_character_n_grams_stay_within_words():
    found = columns(["ab c"], bag_of_characters, ngram_range=(2, 2), min_df=1)
    assert found == {" a": [1], "ab": [1], "b ": [1], " c": [1], "c ": [1]}


@pytest.mark.parametrize(("texts", "least"), [(["a b", "c d"], 2), (["...", "!"], 1)])
def test_texts_that_hold_nothing_to_count_are_bad_input(texts, least):
    pipeline = make_pipeline(bag_of_words(min_df=least), PlainTfIdf())
    with pytest.raises(InputError, match="give more texts"):
        pipeline.fit(texts, [0, 1])
