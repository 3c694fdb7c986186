"""Doctor's memory per rank against what the allocator held while two real ranks trained."""

from __future__ import annotations

import pytest

from tests.distributed.ranks import on_ranks

pytestmark = pytest.mark.distributed
VARIANTS = {
    "stage 1": ["engine.zero_stage=1", "collective.bucket_megabytes=20"],
    "stable-adamw": ["optimizer.name=stable-adamw"],
    "muon": ["optimizer.name=muon"],
    "stage 2": ["engine.zero_stage=2"],
    "bf16, stage 2": ["engine.precision=bf16", "engine.zero_stage=2"],
    "checkpointing": ["engine.activation_checkpointing=true"],
    "stage 0, dropout": ["model.dropout=0.1", "model.attention_dropout=0.1"],
}
VOCABULARY = 4096


def peaks(variants: list[list[str]]) -> list[tuple[int, float]]:
    """(measured, predicted) bytes of each variant; runs on every rank."""
    from pretrain.ranks import world as ranks

    world = ranks.start()
    found = [peak(world, overrides) for overrides in variants]
    ranks.stop()
    return found


def peak(world, overrides: list[str]) -> tuple[int, float]:
    from configs.loader import load_config
    from configs.schema import PretrainConfig
    from launch.diagnosis.memory_model import MemoryModel
    from launch.selfchecks.profile import allocated
    from pretrain.engine.engine import Engine
    from pretrain.model.pretraining import PretrainingModel, initialise
    from tests.unit.pretrain.model.examples import random_batch

    common = ["engine.precision=fp32", "batch={sequences: 32, micro_sequences: 8}"]
    config = load_config(PretrainConfig, "small", [*common, *overrides]).resolved()
    batch = random_batch([config.max_length] * 8, share=0.15)

    def train() -> None:
        checkpointing = config.engine.activation_checkpointing
        model = PretrainingModel(config.model, VOCABULARY, 1, False, checkpointing)
        initialise(model, config.model, seed=0)
        engine = Engine(model, config, world, config.engine.precision)
        engine.train()
        for number in range(2):
            engine.backward(engine(batch).mlm_loss_sum / 1e4, is_last=number == 1)
        engine.step(1e-4)

    memory = MemoryModel(config, VOCABULARY, "cpu", config.engine.precision)
    return allocated(train), memory.peak(world.size, config.engine.zero_stage).total


def test_memory_is_predicted_within_a_tenth():
    found = on_ranks(peaks, 2, list(VARIANTS.values()))[0]
    ratios = {name: predicted / measured for name, (measured, predicted) in zip(VARIANTS, found)}
    assert all(0.9 < ratio < 1.1 for ratio in ratios.values()), ratios
