"""Tiny models and micro-batches of random tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from configs.schema import ModelConfig
from pretrain.batch import MicroBatch
from pretrain.model.pretraining import PretrainingModel

VOCABULARY, PAD = 97, 3
RAGGED = (7, 12, 1, 9)


def tiny(**choices: object) -> ModelConfig:
    """Two layers of width 32, no dropout; `choices` replace fields."""
    shape = {"layers": 2, "hidden_size": 32, "heads": 4, "feed_forward_size": 48}
    rest = {"max_positions": 20, "dropout": 0.0, "attention_dropout": 0.0}
    return ModelConfig(**{**shape, **rest, **choices})


def random_model(config: ModelConfig, next_sentence: bool = False) -> PretrainingModel:
    """Every parameter random, biases and LayerNorm too, so that none can be forgotten."""
    torch.manual_seed(0)
    model = PretrainingModel(config, VOCABULARY, PAD, next_sentence)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def random_batch(lengths: Sequence[int] = RAGGED, share: float = 0.3, seed: int = 0) -> MicroBatch:
    """Sequences of random tokens, none of them padding, the second half of each as segment B."""
    rng, total = np.random.default_rng(seed), sum(lengths)
    tokens = rng.integers(PAD + 1, VOCABULARY, total)
    predicted = np.flatnonzero(rng.random(total) < share)
    return MicroBatch(
        tokens_T=torch.from_numpy(tokens),
        positions_T=torch.cat([torch.arange(n) for n in lengths]),
        segments_T=torch.cat([(torch.arange(n) >= n / 2).long() for n in lengths]),
        boundaries=torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32),
        longest=max(lengths),
        predicted_M=torch.from_numpy(predicted),
        labels_M=torch.from_numpy(rng.integers(0, VOCABULARY, len(predicted))),
        next_sentence_B=torch.from_numpy(rng.integers(0, 2, len(lengths))),
        sample_ids=tuple(range(len(lengths))),
        dropout_keys=tuple(1000 + row for row in range(len(lengths))),
    )


def rows(batch: MicroBatch, chosen: Sequence[int]) -> MicroBatch:
    """A micro-batch of some of the sequences, in the given order."""
    bounds = batch.boundaries.tolist()
    spans = [range(bounds[row], bounds[row + 1]) for row in chosen]
    places = torch.tensor([place for span in spans for place in span])
    order = {int(place): number for number, place in enumerate(places)}
    kept = [i for i, place in enumerate(batch.predicted_M.tolist()) if place in order]
    lengths = [len(span) for span in spans]
    return MicroBatch(
        tokens_T=batch.tokens_T[places],
        positions_T=batch.positions_T[places],
        segments_T=None if batch.segments_T is None else batch.segments_T[places],
        boundaries=torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32),
        longest=max(lengths),
        predicted_M=torch.tensor([order[int(batch.predicted_M[i])] for i in kept]).long(),
        labels_M=batch.labels_M[kept],
        next_sentence_B=batch.next_sentence_B[list(chosen)],
        sample_ids=tuple(batch.sample_ids[row] for row in chosen),
        dropout_keys=tuple(batch.dropout_keys[row] for row in chosen),
    )


def loss_of(model: PretrainingModel, batch: MicroBatch) -> torch.Tensor:
    """Both objectives, summed."""
    sums = model(batch)
    return sums.mlm_loss_sum + sums.nsp_loss_sum
