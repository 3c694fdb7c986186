"""What held-out figures mean: per predicted token, per byte of text, beside the unigram's."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pretrain.engine.evaluate import bits_per_byte, evaluate, unigram_loss
from pretrain.model.pretraining import Sums
from tests.unit.pretrain.engine.batches import letter_batch


class FixedEngine:
    """Every micro-batch has a loss of 3 nats a predicted token, one of them right."""

    def __init__(self, next_sentence: bool) -> None:
        self.model = SimpleNamespace(next_sentence=next_sentence)
        self.world = SimpleNamespace(device=torch.device("cpu"), sum=lambda sums: sums)
        self.modes: list[bool] = []

    def train(self, mode: bool) -> None:
        self.modes.append(mode)

    def __call__(self, batch) -> Sums:
        return Sums(*(torch.tensor(value) for value in (3.0 * len(batch.labels_M), 1, 0.5, 1)))


def split(tokens: int, text_bytes: int, counts: list[int]) -> SimpleNamespace:
    return SimpleNamespace(
        token_count=tokens, text_bytes=text_bytes, unigram_counts=np.asarray(counts)
    )


def test_scores_are_means_over_all_predicted_tokens():
    engine, batches = FixedEngine(False), [letter_batch("ab"), letter_batch("c", "d")]
    scores = evaluate(engine, batches, split(100, 400, []))
    assert scores["mlm_loss"] == 3.0 and scores["mlm_accuracy"] == 1.0
    assert scores["perplexity"] == pytest.approx(math.exp(3))
    assert scores["bits_per_byte"] == pytest.approx(3 / math.log(2) / 4)
    assert "nsp_accuracy" not in scores and engine.modes == [False, True]


def test_a_loss_that_no_float_exponentiates_has_a_perplexity_all_the_same(monkeypatch):
    monkeypatch.setattr(FixedEngine, "__call__", lambda self, batch: Sums(*torch.full((4,), 1e6)))
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
