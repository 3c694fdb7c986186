"""The largest micro-batch that fits is found without going beyond it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from configs.schema import BatchConfig, PhaseConfig, PretrainConfig
from pretrain.engine.fitting import full_batch, largest, resolve
from tests.unit.pretrain.run.runs import ALONE, tiny_config, tiny_tokenizer


class Memory:
    """A device on which a sequence takes `each` bytes; beyond `size` it says no."""

    def __init__(self, each: int, size: float = float("inf"), base: int = 0) -> None:
        self.each, self.size, self.used, self.tried = each, size, base, []
        self.base = base

    def attempt(self, sequences: int) -> None:
        self.tried.append(sequences)
        needed = self.base + self.each * sequences
        if needed > self.size:
            raise torch.OutOfMemoryError("no room")
        self.used = max(self.used, needed)

    def find(self, enough: int, budget: float) -> int:
        return largest(self.attempt, enough, budget, lambda: self.used)


@pytest.mark.parametrize(
    ("budget", "found"), [(99, 8), (160, 16), (159, 8), (20, 2), (5, 1), (10**9, 48)]
)
def test_growth_is_predicted(budget, found):
    memory = Memory(each=10)
    assert memory.find(enough=48, budget=budget) == found
    assert max(memory.tried) == found, "nothing was tried that would not fit"


def test_what_is_there_anyway_does_not_grow():
    assert Memory(each=10, base=1000).find(enough=64, budget=1320) == 32


def test_a_device_may_say_no():
    memory = Memory(each=10, size=45)
    assert memory.find(enough=64, budget=10**9) == 4
    assert memory.tried == [1, 2, 4, 8]


def test_no_more_than_a_step_needs():
    memory = Memory(each=1)
    assert memory.find(enough=5, budget=10**9) == 5
    assert memory.tried == [1, 2, 4, 5]


def test_a_full_batch_is_the_most_that_can_come():
    config = PretrainConfig(max_length=32)
    batch = full_batch(3, config, vocabulary_size=50)
    assert len(batch.tokens_T) == 96 and batch.longest == 32
    assert batch.boundaries.tolist() == [0, 32, 64, 96]
    assert len(batch.labels_M) == int(96 * config.masking.probability)
    assert batch.tokens_T.max() < 50
    assert batch.documents is None
    longer = full_batch(1, replace(config, document_attention=True), 50, length=64)
    assert longer.boundaries.tolist() == longer.documents.tolist() == [0, 64]


def test_the_longest_phase_is_tried_as_well(tmp_path, monkeypatch):
    config = tiny_config(tmp_path)
    model = replace(config.model, position="rope")
    phases = [PhaseConfig(from_steps=2, max_length=64)]
    batch = BatchConfig(sequences=8, micro_sequences="auto")
    config = replace(config, model=model, phases=phases, batch=batch)
    tried = set()
    real = full_batch

    def noted(sequences, config, vocabulary_size, length):
        tried.add((sequences, length))
        return real(sequences, config, vocabulary_size, length)

    monkeypatch.setattr("pretrain.engine.fitting.full_batch", noted)
    assert resolve(config, ALONE, tiny_tokenizer(tmp_path), None).batch.micro_sequences == 8
    assert tried == {(1, 16), (1, 64), (2, 16), (4, 16), (8, 16), (2, 64)}
