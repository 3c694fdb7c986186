"""word2vec and the BiGRU: its shape, what it learns, and that nothing depends on chance."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from finetune.baselines import bigru
from finetune.baselines.bigru import BiGRU, BiGRUClassifier
from tests.finetuning import TOPICS, topic_rows, topic_text

TEXTS, NAMES = zip(*topic_rows(rows=240))
CLASSES = [list(TOPICS).index(name) for name in NAMES]


def logits(model: BiGRUClassifier, texts: list[str]) -> np.ndarray:
    return model._scores([model._words(text) for text in texts])


def network(seed: int = 0) -> BiGRU:
    torch.manual_seed(seed)
    return BiGRU(torch.randn(20, 100), classes=3).eval()


def test_the_network_is_as_described():
    model = network()
    assert model.embedding.embedding_dim == 100 and model.embedding.weight.requires_grad
    assert (model.gru.hidden_size, model.gru.bidirectional) == (256, True)
    assert (model.dense.in_features, model.dense.out_features) == (512, 64)
    assert model.dropout.p == 0.4
    assert bigru.WINDOW == 5


@torch.no_grad()
def test_padding_does_not_change_the_answer():
    model = network()
    texts = [torch.tensor(words) for words in ([2, 3, 4], [5], [6, 7, 8, 9, 10, 2])]
    alone = torch.cat([model(words[None], torch.tensor([len(words)])) for words in texts])
    padded = torch.nn.utils.rnn.pad_sequence([*texts, torch.full((9,), 3)], batch_first=True)
    together = model(padded, torch.tensor([3, 1, 6, 9]))
    torch.testing.assert_close(together[:3], alone, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_text_is_the_mean_of_its_own_words_in_both_directions():
    model, words = network(), torch.tensor([[2, 3, 4, 0, 0]])
    states, _ = model.gru(model.embedding(words[:, :3]))
    expected = model.output(torch.relu(model.dense(states.mean(1))))
    torch.testing.assert_close(model(words, torch.tensor([3])), expected)


@pytest.fixture
def small(monkeypatch):
    """A network and a training that take a second."""
    monkeypatch.setattr(bigru, "HIDDEN", 32)
    monkeypatch.setattr(bigru, "BATCH", 16)
    monkeypatch.setattr(bigru, "RATE", 5e-3)
    monkeypatch.setattr(bigru, "EPOCHS", 4)


@pytest.mark.parametrize("skip_gram", [False, True])
def test_it_learns_topics(small, skip_gram):
    model = BiGRUClassifier(skip_gram, seed=0).fit(TEXTS, CLASSES)
    rng = random.Random(1)
    new = [topic_text(rng, label) for label in TOPICS for _ in range(10)]
    assert logits(model, new).shape == (30, 3)
    assert (model.predict(new) == np.repeat([0, 1, 2], 10)).mean() > 0.9


def test_equal_seeds_give_equal_results_and_others_do_not(small):
    answers = [
        logits(BiGRUClassifier(False, seed).fit(TEXTS[:60], CLASSES[:60]), TEXTS[60:70])
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[0] - answers[2]).max() > 1e-4


def test_answers_do_not_depend_on_order_or_company(small):
    model = BiGRUClassifier(False, seed=0).fit(TEXTS[:60], CLASSES[:60])
    together, alone = logits(model, TEXTS[:40]), logits(model, TEXTS[7:8])
    np.testing.assert_allclose(together[7], alone[0], atol=1e-6)
    backwards = logits(model, TEXTS[:40][::-1])
    np.testing.assert_allclose(backwards[::-1], together, atol=1e-6)


def test_few_empty_and_unknown_texts_are_no_obstacle(small):
    model = BiGRUClassifier(False, seed=0).fit(["a b", "c", "", "d"], [0, 1, 0, 1])
    assert np.isfinite(logits(model, ["", "never heard of", "a " * 500])).all()


def test_integers_are_ranks_by_frequency_and_unknown_words_share_one():
    model = BiGRUClassifier(False, seed=0)
    model.numbers = bigru.number_words(["the cat sat", "the cat", "the hat"])
    assert model._words("the cat hat sat") == [2, 3, 4, 5]
    assert model._words("the dog The") == [2, bigru.UNKNOWN, bigru.UNKNOWN]
    assert len(model.numbers) == 4


def test_embeddings_begin_with_word2vec(small, monkeypatch):
    monkeypatch.setattr(bigru, "EPOCHS", 0)
    given = {}

    def fake(sentences, width, choice, seed):
        given.update(width=width, skip_gram=choice.skip_gram, window=choice.window, seed=seed)
        words = {word for sentence in sentences for word in sentence}
        return {word: np.full(width, len(word), np.float32) for word in words}

    monkeypatch.setattr(bigru, "train_word2vec", fake)
    model = BiGRUClassifier(True, seed=9).fit(["a bb a", "ccc"], [0, 1])
    assert given == {"width": 100, "skip_gram": True, "window": 5, "seed": 9}
    assert model.network.embedding.weight[[0, 2, 3, 4], 0].tolist() == [0, 1, 2, 3]
