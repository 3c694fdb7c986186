"""How fast a configuration will train on given ranks, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from configs.schema import PretrainConfig
from pretrain.doctor.gpus import Device
from pretrain.doctor.memory import MemoryModel
from pretrain.engine.collectives import Ring, Traffic
from pretrain.model.flops import flops_per_step

BACKWARD_SHARE = 2 / 3
"""of a micro-batch's arithmetic: what a reduction can overlap with"""
WEIGHTS_AND_MOMENTS = 3 * 4
"""bytes of a checkpoint per parameter, all in fp32"""


@dataclass(frozen=True)
class Data:
    """What the corpus tells, or None where there is none yet."""

    mean_length: float | None = None
    """tokens of a sample"""
    tokens_per_epoch: int | None = None
    steps_per_epoch: int | None = None
    store_bytes: int | None = None


@dataclass(frozen=True)
class Projection:
    """A run as it will be."""

    tokens_per_step: int
    micro_batches_per_rank: int
    flops_per_step: float
    compute_seconds: float
    allreduce_seconds: float
    exposed_seconds: float
    """of the all-reduce: what no computation hides"""
    megabytes_sent: float
    """per rank and step"""
    steps: float | None
    hours: float | None

    @property
    def step_seconds(self) -> float:
        return self.compute_seconds + self.exposed_seconds

    @property
    def tokens_per_second(self) -> float:
        return self.tokens_per_step / self.step_seconds

    @property
    def allreduce_share(self) -> float:
        """Share of the step in which ranks do nothing but communicate."""
        return self.exposed_seconds / self.step_seconds


def project(
    config: PretrainConfig,
    memory: MemoryModel,
    device: Device,
    ring: Ring,
    ranks: int,
    mfu: float,
    data: Data,
) -> Projection:
    """The run of `config` on `ranks` devices that reach `mfu` of their peak."""
    tokens = config.batch.sequences * config.max_length
    micro_batches = config.batch.micro_batches(ranks) // ranks
    flops = step_flops(config, memory.vocabulary_size, data.mean_length)
    compute = flops / (ranks * device.peak * mfu)
    stage = config.engine.zero_stage
    traffic = Traffic.of(memory.sizes, config.collective, stage, micro_batches)
    reducing, gathering = traffic.seconds(ring, ranks)
    hidden = BACKWARD_SHARE * compute if config.collective.overlap else 0.0
    if stage == 1:  # reduces with the last micro-batch only
        hidden /= micro_batches
    exposed = max(0.0, reducing - hidden) + gathering
    steps = total_steps(config, data)
    minutes = config.schedule.max_minutes
    hours = minutes / 60 if minutes else steps and steps * (compute + exposed) / 3600
    if minutes:
        steps = 60 * minutes / (compute + exposed)
    return Projection(
        tokens,
        micro_batches,
        flops,
        compute,
        reducing + gathering,
        exposed,
        traffic.bytes_sent(ranks) / 1e6,
        steps,
        hours,
    )


def step_flops(config: PretrainConfig, vocabulary_size: int, mean_length: float | None) -> float:
    """Useful FLOPs of a step whose samples have `mean_length` tokens (None: all are full)."""
    length = round(mean_length or config.max_length)
    sequences = config.batch.sequences * config.max_length / length
    # Per sequence, so that a large batch needs no large array.
    predicted = length * config.masking.probability
    one = flops_per_step(
        config.model, vocabulary_size, np.array([length]), 0, config.next_sentence_prediction
    )
    head = flops_per_step(config.model, vocabulary_size, np.array([], np.int64), 1)
    return sequences * (one + head * predicted)


def total_steps(config: PretrainConfig, data: Data) -> float | None:
    """Optimizer steps of the run; None where the corpus must tell and there is none."""
    schedule = config.schedule
    if schedule.max_steps is not None:
        return schedule.max_steps
    if schedule.max_tokens is not None:
        return schedule.max_tokens / (config.batch.sequences * config.max_length)
    if schedule.max_epochs is not None and data.steps_per_epoch:
        return schedule.max_epochs * data.steps_per_epoch
    return None


def checkpoint_bytes(parameters: int) -> int:
    """One checkpoint: weights and both moments."""
    return WEIGHTS_AND_MOMENTS * parameters


def disk_bytes(config: PretrainConfig, parameters: int, data: Data) -> int:
    """What the run needs: `keep` checkpoints, one more while it is written, the export, the
    store."""
    kept = (config.checkpoint.keep + 1) * checkpoint_bytes(parameters)
    return kept + 4 * parameters + (data.store_bytes or 0)
