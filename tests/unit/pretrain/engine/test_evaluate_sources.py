"""Held-out figures of each source, beside the total and on any number of ranks."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pretrain.data.store_sources import StoreSources
from pretrain.engine.evaluate import evaluate, score_words
from tests.unit.pretrain.model.examples import random_batch, random_model, tiny

NAMES = ("wiki", "none", "books")
STORE = SimpleNamespace(
    token_count=300,
    text_bytes=1000,
    unigram_counts=np.ones(97),
    sources=StoreSources(NAMES, np.asarray([100, 100, 300]), np.asarray([500, 0, 500])),
)


class ModelEngine:
    """A model as an engine, on one rank of several: `sums` is what ranks add up."""

    def __init__(self, summed=lambda totals: totals) -> None:
        self.model = random_model(tiny()).eval()
        world = dict(device=torch.device("cpu"), sum=summed, rank=0, size=1)
        self.world = SimpleNamespace(**world)

    def train(self, mode: bool) -> None:
        self.model.train(mode)

    def __call__(self, batch):
        return self.model(batch)


def batches_of(count: int) -> list:
    """Each with its own tokens, some of the first and some of the third source."""
    batches = [random_batch(seed=seed) for seed in range(count)]
    draws = [
        np.random.default_rng(seed).integers(0, 2, len(b.labels_M))
        for seed, b in enumerate(batches)
    ]
    return [
        replace(b, sources_M=torch.from_numpy(2 * draw), source_count=3)
        for b, draw in zip(batches, draws)
    ]


@torch.no_grad()
def tokens_of(engine: ModelEngine, batches: list) -> dict[int, tuple[float, float]]:
    """Source -> (mean loss, share right), by torch, token by token."""
    losses, right, sources = [], [], []
    for batch in batches:
        head, words = engine.model.mlm_head, engine.model.encoder.embeddings.word.weight
        logits = head(engine.model.encode(batch)[batch.predicted_M], words)
        losses.append(F.cross_entropy(logits, batch.labels_M, reduction="none"))
        right.append((logits.argmax(1) == batch.labels_M).float())
        sources.append(batch.sources_M)
    loss, correct, source = map(torch.cat, (losses, right, sources))
    return {
        number: (float(loss[source == number].mean()), float(correct[source == number].mean()))
        for number in (0, 2)
    }


def test_figures_of_each_source_are_means_over_its_own_tokens():
    engine, batches = ModelEngine(), batches_of(3)
    scores, expected = evaluate(engine, batches, STORE), tokens_of(engine, batches)
    for number, tokens in ((0, 100), (2, 200)):
        loss, accuracy = expected[number]
        name = NAMES[number]
        assert scores[f"mlm_loss/{name}"] == pytest.approx(loss, rel=1e-5)
        assert scores[f"mlm_accuracy/{name}"] == pytest.approx(accuracy)
        bits = loss / math.log(2) * tokens / 500
        assert scores[f"bits_per_byte/{name}"] == pytest.approx(bits, rel=1e-5)
    assert not [key for key in scores if key.endswith("/none")]


def test_the_total_is_bit_for_bit_what_it_is_without_sources():
    batches = batches_of(3)
    plain = [replace(b, sources_M=None, source_count=0) for b in batches]
    without = evaluate(ModelEngine(), plain, SimpleNamespace(**{**vars(STORE), "sources": None}))
    scores = evaluate(ModelEngine(), batches, STORE)
    assert {key: scores[key] for key in without} == without
    assert len(scores) == len(without) + 6


def test_any_number_of_ranks_gives_the_same_figures():
    batches, shares = batches_of(5), []
    for rank in range(3):
        engine = ModelEngine(lambda totals: shares.append(totals) or totals)
        evaluate(engine, batches[rank::3], STORE)
    together = evaluate(ModelEngine(lambda totals: sum(shares)), batches[0::3], STORE)
    assert together == pytest.approx(evaluate(ModelEngine(), batches, STORE))


def test_words_have_bits_of_each_source():
    engine, batches = ModelEngine(), batches_of(2)
    measure = SimpleNamespace(
        collate=SimpleNamespace(batches=lambda *share: batches),
        predicted=9,
        drawn=9,
        predicted_bytes=60,
        by_source={"wiki": (4, 20), "none": (0, 0), "books": (5, 40)},
    )
    scores = score_words(engine, measure, STORE)
    expected = tokens_of(engine, batches)
    for number, size, words in ((0, 20, 4), (2, 40, 5)):
        name, (loss, accuracy) = NAMES[number], expected[number]
        count = sum(int((b.sources_M == number).sum()) for b in batches)
        bits = loss * count / math.log(2) / size
        assert scores[f"word_bits_per_byte/{name}"] == pytest.approx(bits, rel=1e-5)
        assert scores[f"word_accuracy/{name}"] == pytest.approx(accuracy)
        assert scores[f"words/{name}"] == words
    parts = [
        scores[f"word_bits_per_byte/{name}"] * size for name, size in (("wiki", 20), ("books", 40))
    ]
    assert sum(parts) == pytest.approx(scores["word_bits_per_byte"] * 60)
