"""Where a GPU is at hand: the predicted peak against the allocator's, through the real engine."""

from __future__ import annotations

import pytest
import torch

from tests.distributed.ranks import on_ranks

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
SHAPE = [
    "model={layers: 6, hidden_size: 768, heads: 12, feed_forward_size: 3072, max_positions: 256}",
    "max_length=256",
    "tokenizer.vocabulary_size=30000",
    "batch={sequences: 128, micro_sequences: 64}",
    "engine.precision=bf16",
]


def peaks(overrides: list[str]) -> tuple[int, float]:
    """(measured, predicted) bytes of two steps of two micro-batches."""
    from configs.loader import load_config
    from configs.schema import PretrainConfig
    from launch.diagnosis.memory_model import MemoryModel
    from pretrain.engine.engine import Engine
    from pretrain.model.pretraining import PretrainingModel, initialise
    from pretrain.ranks import world as ranks
    from tests.unit.pretrain.model.examples import random_batch

    world = ranks.start()
    config = load_config(PretrainConfig, "small", [*SHAPE, *overrides]).resolved()
    checkpointing = config.engine.activation_checkpointing
    model = PretrainingModel(config.model, 30000, 1, False, checkpointing)
    initialise(model, config.model, 0)
    engine = Engine(model.to(world.device), config, world, config.engine.precision)
    batch = random_batch([256] * 64, 0.15).to(world.device)
    engine.train()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        for number in range(2):
            engine.backward(engine(batch).mlm_loss_sum / 1e4, is_last=number == 1)
        engine.step(1e-4)
    measured = torch.cuda.max_memory_allocated()
    ranks.stop()
    memory = MemoryModel(config, 30000, "cuda", "bf16")
    return measured, memory.peak(1, config.engine.zero_stage).total


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model.dropout=0.1", "model.attention_dropout=0.1"],
        ["engine.activation_checkpointing=true"],
        ["engine.zero_stage=2"],
    ],
    ids=["plain", "dropout", "checkpointing", "stage 2"],
)
def test_the_peak_on_a_gpu_is_predicted(overrides):
    ((measured, predicted),) = on_ranks(peaks, 1, overrides)
    assert predicted == pytest.approx(measured, rel=0.1)
