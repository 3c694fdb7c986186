"""A tiny model on a store of random text: what the multi-process tests train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from configs.loader import load_config
from configs.schema import PretrainConfig, ResolvedPretrainConfig
from pretrain.data.batches import Batches
from pretrain.data.collate import Collator
from pretrain.data.store import TokenStore
from pretrain.engine.engine import Engine
from pretrain.model.pretraining import PretrainingModel, initialise
from pretrain.optim.schedule import Phase, Schedule
from pretrain.ranks.world import World
from tests.helpers import SPECIAL_TOKENS, random_shape, simple_vocabulary, write_store

VOCABULARY = 300
TINY = [
    "model={layers: 2, hidden_size: 32, heads: 2, feed_forward_size: 64, max_positions: 64}",
    "model.dropout=0.1",
    "model.attention_dropout=0.1",
    "max_length=32",
    "batch={sequences: 16, micro_sequences: 16}",
    "engine.precision=fp32",
    "schedule.max_steps=100",
    "optimizer.learning_rate=0.01",
]


def tiny_config(overrides: list[str]) -> ResolvedPretrainConfig:
    """The small recipe at a size that trains in milliseconds."""
    return load_config(PretrainConfig, "small", [*TINY, *overrides]).resolved()


def write_random_store(folder: Path) -> Path:
    """A store of 200 documents of skewed random tokens, so that there is something to learn."""
    generator = np.random.default_rng(0)
    documents = [
        [(VOCABULARY * generator.beta(1, 4, n)).astype(int).tolist() for n in lengths]
        for lengths in random_shape(seed=0, documents=200, sentences=12, tokens=40)
    ]
    return write_store(folder, VOCABULARY + SPECIAL_TOKENS, shard_tokens=10_000, train=documents)


def open_engine(
    world: World, store: str, config: ResolvedPretrainConfig, weights_seed: int = 0
) -> tuple[Engine, Batches]:
    """A fresh model under DeepSpeed and its data."""
    vocabulary = simple_vocabulary(VOCABULARY)
    batches = Batches(Collator(TokenStore.open(Path(store), "train"), config, vocabulary))
    model = PretrainingModel(
        config.model, VOCABULARY + SPECIAL_TOKENS, pad_id=0, next_sentence=False
    )
    initialise(model, config.model, weights_seed)
    return Engine(model, config, world, config.engine.precision), batches


def train_steps(engine: Engine, batches: Batches, first: int, last: int) -> list[float]:
    """Global MLM loss of each of the steps [first, last), by the engine's public calls."""
    world, losses, config = engine.world, [], batches.config
    schedule = Schedule.make(config.schedule, [Phase(0, 1, 1)])
    for step in range(first, last):
        micro_batches = batches.step(step, world.rank, world.size)
        predicted = world.sum(torch.tensor(sum(len(b.labels_M) for b in micro_batches)))
        total = torch.zeros(())
        for number, batch in enumerate(micro_batches):
            loss = engine(batch).mlm_loss_sum / predicted
            engine.backward(loss, is_last=number == len(micro_batches) - 1)
            total += loss.detach()
        rate = config.optimizer.learning_rate
        # At the peak, so that a few steps learn something; unless the schedule is what is tried.
        engine.step(
            rate if config.schedule.decay != "wsd" else schedule.learning_rate(rate, step, 0)
        )
        losses.append(world.sum(total).item())
    return losses
