"""How fast a configuration will train on given ranks, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from configs.schema import PhaseConfig, PretrainConfig, ResolvedPretrainConfig
from launch.diagnosis.gpus import Hardware
from launch.diagnosis.memory_model import MemoryModel
from pretrain.data.phases import batch_of, phases_of
from pretrain.model.flops import flops_per_step
from pretrain.optim.groups import moments_elements
from pretrain.optim.muon import update_flops
from pretrain.optim.schedule import Phase, Schedule
from pretrain.ranks.collectives import Traffic

BACKWARD_SHARE = 2 / 3
"""of a micro-batch's arithmetic: what a reduction can overlap with"""


@dataclass(frozen=True)
class RunPhase:
    """A phase with its configuration filled in: all its steps are alike."""

    config: ResolvedPretrainConfig
    """with the phase's batch and length, and no phases"""
    place: Phase
    """where it lies in the run, and how large its epoch is"""
    mean_length: float | None = None
    """tokens of a sample; None: not known, all full"""


@dataclass(frozen=True)
class Data:
    """What the corpus tells, or the phases alone where there is none yet."""

    phases: list[RunPhase]
    store_bytes: int | None = None
    """None: there is no corpus"""

    @classmethod
    def without_corpus(cls, config: ResolvedPretrainConfig) -> Data:
        """As if all samples were full, and an epoch a step."""
        phases: list[RunPhase] = []
        first = tokens = 0
        for phase in phases_of(config):
            if phases:
                before = phases[-1].place
                length = (phase.from_tokens or 0) - tokens
                steps = phase.from_steps or first + round(length / before.tokens_per_epoch)
                tokens += (steps - first) * before.tokens_per_epoch
                first = steps
            own = phase_config(config, phase)
            step = own.batch.sequences * own.max_length
            phases.append(RunPhase(own, Phase(first, 1, step, phase)))
        return cls(phases)

    def total_steps(self, config: PretrainConfig) -> int | None:
        """Optimizer steps of the run; None where the clock or a corpus that is not there decides.

        Raises:
            InputError: warm-up or phases do not fit into the run.
        """
        if config.schedule.max_epochs is not None and self.store_bytes is None:
            return None
        places = [phase.place for phase in self.phases]
        return Schedule.make(config.schedule, places).total_steps


def phase_config(config: ResolvedPretrainConfig, phase: PhaseConfig) -> ResolvedPretrainConfig:
    """The configuration as it is in one phase."""
    masking = config.masking
    if phase.mask_probability:
        masking = replace(masking, probability=phase.mask_probability)
    own = config.of_length(phase.max_length or config.max_length)
    return replace(own, batch=batch_of(config, phase), masking=masking)


@dataclass(frozen=True)
class Projection:
    """The steps of one phase as they will be."""

    first_step: int
    sequences: int
    max_length: int
    micro_batches_per_rank: int
    flops: float
    compute_seconds: float
    allreduce_seconds: float
    exposed_seconds: float
    """of the all-reduce: what no computation hides"""
    megabytes_sent: float
    """per rank"""
    update_seconds: float = 0.0
    """of Muon's arithmetic, which every rank does in full; other rules do nearly none"""

    @property
    def tokens(self) -> int:
        """Of a step whose samples are full."""
        return self.sequences * self.max_length

    @property
    def seconds(self) -> float:
        """Of a step."""
        return self.compute_seconds + self.exposed_seconds + self.update_seconds

    @property
    def tokens_per_second(self) -> float:
        """Of all ranks."""
        return self.tokens / self.seconds

    @property
    def allreduce_share(self) -> float:
        """Share of the step in which ranks do nothing but communicate."""
        return self.exposed_seconds / self.seconds


def project(phase: RunPhase, memory: MemoryModel, hardware: Hardware) -> Projection:
    """A step of `phase` on the ranks of the hardware."""
    config, ranks = phase.config, hardware.ranks
    micro_batches = config.batch.micro_batches(ranks) // ranks
    flops = step_flops(config, memory.vocabulary_size, phase.mean_length)
    speed = hardware.device.peak * hardware.mfu
    compute = flops / (ranks * speed)
    update = update_flops(memory.model) if config.optimizer.name == "muon" else 0.0
    stage = config.engine.zero_stage
    traffic = Traffic.of(memory.sizes, config.collective, stage, micro_batches)
    hidden = BACKWARD_SHARE * compute if config.collective.overlaps(stage) else 0.0
    if stage < 2:  # reduces with the last micro-batch only
        hidden /= micro_batches
    return Projection(
        phase.place.first_step,
        config.batch.sequences,
        config.max_length,
        micro_batches,
        flops,
        compute,
        sum(traffic.seconds(hardware.ring, ranks)),
        traffic.exposed_seconds(hardware.ring, ranks, hidden),
        traffic.bytes_sent(ranks) / 1e6,
        update / speed,
    )


def duration_of(
    projections: list[Projection], total_steps: int | None, minutes: float | None
) -> tuple[float | None, float | None]:
    """(steps, hours) of the run; None where neither steps nor `minutes` are known."""
    if total_steps is None and minutes is None:
        return None, None
    left = float("inf") if minutes is None else 60 * minutes
    steps = seconds = 0.0
    ends = [p.first_step for p in projections[1:]] + [total_steps or float("inf")]
    for projection, end in zip(projections, ends):
        taken = min(end - projection.first_step, (left - seconds) / projection.seconds)
        steps, seconds = steps + taken, seconds + taken * projection.seconds
    return steps, seconds / 3600


def step_flops(config: PretrainConfig, vocabulary_size: int, mean_length: float | None) -> float:
    """Useful FLOPs of a step whose samples have `mean_length` tokens (None: all are full)."""
    length = round(mean_length or config.max_length)
    sequences = config.batch.sequences * config.max_length / length
    # Per sequence, so that a large batch needs no large array.
    # A rate that moves in a line is, on average over the run, the mean of its two ends.
    predicted = length * float(np.mean(config.mask_probabilities))
    one = flops_per_step(
        config.model, vocabulary_size, np.array([length]), 0, config.next_sentence_prediction
    )
    head = flops_per_step(config.model, vocabulary_size, np.array([], np.int64), 1)
    return sequences * (one + head * predicted)


def checkpoint_bytes(model: nn.Module, optimizer: str) -> int:
    """One checkpoint: weights and moments, all in fp32."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return 4 * (parameters + moments_elements(model, optimizer))


def disk_bytes(config: PretrainConfig, model: nn.Module, data: Data, steps: float | None) -> int:
    """What the run needs: checkpoints, one more while it is written, the export, the store."""
    spacing = config.checkpoint.keep_every_steps
    kept = config.checkpoint.keep + 1 + (int(steps / spacing) if spacing and steps else 0)
    export = 4 * sum(parameter.numel() for parameter in model.parameters())
    saved = checkpoint_bytes(model, config.optimizer.name)
    return kept * saved + export + (data.store_bytes or 0)
