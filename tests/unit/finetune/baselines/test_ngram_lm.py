"""n-gram language models: probabilities, perplexities and the classifier made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from finetune.baselines.ngram_lm import END, START, NgramClassifier, NgramModel, events

TEXTS = ["the cat sat", "The cat ran away", "a dog sat on the cat"]
WORDS = sorted({word for text in TEXTS for word in text.lower().split()})
HISTORIES = [(START, START), (START, "the"), ("the", "cat"), ("cat", "the"), ("no", "such")]


def test_events_are_words_after_their_histories():
    assert list(events("A b", 3)) == [
        ((START, START), "a"),
        ((START, "a"), "b"),
        (("a", "b"), END),
    ]
    assert list(events("", 1)) == [((), END)]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_of_vocabulary_unknown_and_end_sum_to_one(order):
    (model,) = NgramClassifier(order).fit(TEXTS, [0, 0, 0]).models
    for history in HISTORIES:
        own = history[len(history) - order + 1 :]
        shares = [model.probability(word, own) for word in [*WORDS, "unheard-of", END]]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) > 0


def test_a_class_knows_the_words_of_all_classes():
    models = NgramClassifier().fit(["x y", "X z z"], [0, 1]).models
    for model in models:
        shares = [model.probability(word, ("x",)) for word in ["x", "y", "z", "other", END]]
        assert sum(shares) == pytest.approx(1)


def test_absolute_discounting_by_hand():
    model = NgramModel(["a b", "a c"], order=2, vocabulary=3)
    single = {word: (count - 0.75) / 6 for word, count in {"a": 2, "b": 1, END: 2}.items()}
    left = 0.75 * 4 / 6 / 5  # four kinds of events give, five share
    assert model.probability("a", ()) == pytest.approx(single["a"] + left)
    after_a = (1 - 0.75) / 2 + 0.75 * 2 / 2 * (single["b"] + left)
    assert model.probability("b", ("a",)) == pytest.approx(after_a)
    assert model.probability(END, ("b",)) == pytest.approx(0.25 + 0.75 * (single[END] + left))


def test_counts_of_words_and_tokens():
    model = NgramModel(["a b a", "c"], order=2, vocabulary=3)
    assert (model.types, model.tokens) == (3, 6)


def test_the_probability_of_a_text_is_that_of_its_words_and_its_end():
    model = NgramModel(TEXTS, order=2, vocabulary=len(WORDS))
    parts = [("the", START), ("cat", "the"), (END, "cat")]
    expected = sum(math.log(model.probability(word, (history,))) for word, history in parts)
    assert model.log_probability("The cat") == pytest.approx(expected)


def test_own_perplexity_is_the_lowest_on_separable_text():
    texts = ["read the file", "open the file", "add a number", "add one number"] * 3
    classes = [0, 0, 1, 1] * 3
    model = NgramClassifier().fit(texts, classes)
    table = model.perplexities(["open the file", "add a number"], [0, 1])
    assert table.shape == (2, 2)
    assert table.argmin(axis=1).tolist() == table.argmin(axis=0).tolist() == [0, 1]
    assert model.predict_proba(texts).argmax(1).tolist() == classes


def test_perplexity_counts_every_word_and_end():
    model = NgramClassifier(order=1).fit(["a b", "b c"], [0, 1])
    own = model.models[1]
    product = np.prod([own.probability(word, ()) for word in ("a", END, "b", "c", END)])
    assert model.perplexities(["a", "b c"], [0, 0])[0, 1] == pytest.approx(product ** (-1 / 5))


def test_the_classifier_is_bayes_rule():
    model = NgramClassifier().fit(["a b", "a b", "b a"], [0, 0, 1])
    joint = np.array([2 / 3, 1 / 3]) * np.exp([m.log_probability("a b") for m in model.models])
    np.testing.assert_allclose(model.predict_proba(["a b"])[0], joint / joint.sum())


@pytest.mark.filterwarnings("error")
def test_a_class_without_texts_is_never_chosen_and_has_no_perplexity():
    model = NgramClassifier().fit(["a", "b"], [0, 2])
    assert model.predict_proba(["a", "b", "c"])[:, 1].tolist() == [0, 0, 0]
    table = model.perplexities(["a", "b"], [0, 2])
    assert np.isnan(table[1]).all() and np.isfinite(table[[0, 2]]).all()
