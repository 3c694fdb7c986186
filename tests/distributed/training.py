"""A tiny model on a store of random text: what the multi-process tests train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.data.batches import Batches
from pretrain.data.collate import Collator
from pretrain.data.masking import Vocabulary
from pretrain.data.store import SplitWriter, TokenStore, token_dtype, write_manifest
from pretrain.engine.engine import Engine
from pretrain.engine.world import World
from pretrain.model.pretraining import PretrainingModel, initialise

VOCABULARY = 300
SPECIAL = 5
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


def tiny_config(overrides: list[str]) -> PretrainConfig:
    """roberta_small at a size that trains in milliseconds."""
    return load_config(PretrainConfig, "roberta_small", [*TINY, *overrides])


def write_random_store(folder: Path) -> Path:
    """A store of 200 documents of skewed random tokens, so that there is something to learn."""
    generator = np.random.default_rng(0)
    writer = SplitWriter(folder / "train", VOCABULARY, shard_tokens=10_000)
    for _ in range(200):
        lengths = generator.integers(1, 40, generator.integers(2, 12))
        sentences = [
            SPECIAL + (generator.beta(1, 4, n) * (VOCABULARY - SPECIAL)).astype(int)
            for n in lengths
        ]
        writer.add([s.tolist() for s in sentences], int(lengths.sum()) * 4)
    write_manifest(folder, {"train": writer.finish()}, token_dtype(VOCABULARY), {})
    return folder


def open_engine(
    world: World, store: str, config: PretrainConfig, weights_seed: int = 0
) -> tuple[Engine, Batches]:
    """A fresh model under DeepSpeed and its data."""
    vocabulary = Vocabulary(
        cls_id=0,
        sep_id=1,
        mask_id=2,
        ordinary=np.arange(SPECIAL, VOCABULARY),
        continues_word=np.zeros(VOCABULARY, bool),
    )
    batches = Batches(Collator(TokenStore.open(Path(store), "train"), config, vocabulary))
    model = PretrainingModel(config.model, VOCABULARY, 3, config.next_sentence_prediction)
    initialise(model, config.model, weights_seed)
    return Engine(model, config, world), batches


def train_steps(engine: Engine, batches: Batches, first: int, last: int) -> list[float]:
    """Global MLM loss of each of the steps [first, last), by the engine's public calls."""
    world, losses = engine.world, []
    for step in range(first, last):
        micro_batches = batches.step(step, world.rank, world.size)
        predicted = world.sum(torch.tensor(sum(len(b.labels_M) for b in micro_batches)))
        total = torch.zeros(())
        for number, batch in enumerate(micro_batches):
            loss = engine(batch).mlm_loss_sum / predicted
            engine.backward(loss, is_last=number == len(micro_batches) - 1)
            total += loss.detach()
        engine.step(batches.config.optimizer.learning_rate)
        losses.append(world.sum(total).item())
    return losses
