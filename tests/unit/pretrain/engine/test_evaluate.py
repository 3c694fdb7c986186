"""What held-out figures mean: per predicted token, per byte of text, beside the unigram's."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pretrain.engine.evaluate import bits_per_byte, evaluate, score_words, unigram_loss
from pretrain.model.pretraining import Sums
from tests.unit.pretrain.engine.batches import letter_batch


class FixedEngine:
    """Every micro-batch has a loss of 3 nats a predicted token, one of them right."""

    def __init__(self, next_sentence: bool) -> None:
        self.model = SimpleNamespace(next_sentence=next_sentence)
        self.world = SimpleNamespace(
            device=torch.device("cpu"), sum=lambda sums: sums, rank=0, size=1
        )
        self.modes: list[bool] = []

    def train(self, mode: bool) -> None:
        self.modes.append(mode)

    def __call__(self, batch) -> Sums:
        values = (torch.tensor(value) for value in (3.0 * len(batch.labels_M), 1, 0.5, 1))
        return Sums(*values, torch.zeros(0, 3))


def split(tokens: int, text_bytes: int, counts: list[int]) -> SimpleNamespace:
    return SimpleNamespace(
        token_count=tokens, text_bytes=text_bytes, unigram_counts=np.asarray(counts), sources=None
    )


def test_scores_are_means_over_all_predicted_tokens():
    engine, batches = FixedEngine(False), [letter_batch("ab"), letter_batch("c", "d")]
    scores = evaluate(engine, batches, split(100, 400, []))
    assert scores["mlm_loss"] == 3.0 and scores["mlm_accuracy"] == 1.0
    assert scores["perplexity"] == pytest.approx(math.exp(3))
    assert scores["bits_per_byte"] == pytest.approx(3 / math.log(2) / 4)
    assert "nsp_accuracy" not in scores and engine.modes == [False, True]


def test_a_loss_that_no_float_exponentiates_has_a_perplexity_all_the_same(monkeypatch):
    monkeypatch.setattr(
        FixedEngine, "__call__", lambda self, batch: Sums(*torch.full((4,), 1e6), torch.zeros(0, 3))
    )
    scores = evaluate(FixedEngine(False), [letter_batch("a")], split(1, 1, []))
    assert scores["mlm_loss"] == 1e6 and math.isfinite(scores["perplexity"])


def test_bits_per_byte_count_the_text_and_not_the_tokens():
    """Twice as many tokens for the same text: each may cost half as much."""
    coarse, fine = split(100, 500, []), split(200, 500, [])
    assert bits_per_byte(2.0, coarse) == pytest.approx(bits_per_byte(1.0, fine))
    assert bits_per_byte(math.log(2), split(8, 8, [])) == pytest.approx(1.0)


def test_the_unigram_distribution_is_that_of_the_training_text():
    counts = [0] * 128
    counts[ord("a")] = 71  # with one for each of 128 ids: 72 of 199
    loss = unigram_loss(split(71, 71, counts), [letter_batch("a")])
    assert loss == pytest.approx(-math.log(72 / 199))


def words_of(*texts: str, size: int = 0, lost: int = 0) -> SimpleNamespace:
    """A measure of one predicted word of `size` bytes for each text."""
    batches = [letter_batch(text) for text in texts]
    collate = SimpleNamespace(batches=lambda *share: batches)
    return SimpleNamespace(
        collate=collate,
        predicted=len(texts),
        drawn=len(texts) + lost,
        predicted_bytes=size,
        by_source={},
    )


def test_bits_of_words_are_shared_by_their_bytes_and_not_by_tokens():
    """3 nats a token, one token a word; the unigram distribution has `a` 3 of 4 times, smoothed."""
    counts = [0] * 128
    counts[ord("a")] = 127  # and one each: 128 of 255
    scores = score_words(
        FixedEngine(False), words_of("ab", "a", size=8, lost=3), split(1, 1, counts)
    )
    assert scores["word_bits_per_byte"] == pytest.approx(2 * 3 / math.log(2) / 8)
    assert scores["word_unigram_bits_per_byte"] == pytest.approx(2 * math.log2(255 / 128) / 8)
    assert scores["word_loss"] == 3.0 and scores["word_accuracy"] == 1.0
    assert (scores["words"], scores["words_lost"]) == (2, 3)


def test_text_without_words_has_no_figures():
    assert score_words(FixedEngine(False), words_of(), split(1, 1, [1])) == {}
