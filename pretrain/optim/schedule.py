"""The learning rate as a function of progress: nothing to save, nothing to step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from configs.errors import InputError
from configs.schema import PhaseConfig, ScheduleConfig


@dataclass(frozen=True)
class Stretch:
    """A part of the run in which all steps are of one size."""

    first_step: int
    steps_per_epoch: int
    tokens_per_epoch: int
    phase: PhaseConfig = field(default_factory=PhaseConfig)


@dataclass(frozen=True)
class Arc:
    """A part of the run with a warm-up and a decay of its own."""

    first_step: int
    peak: float | None
    """learning rate; None: that of the optimizer"""
    warmup: float
    """share of the arc"""


@dataclass(frozen=True)
class Plan:
    """How long the run is, and the learning rate along it."""

    config: ScheduleConfig
    total_steps: int | None
    """None where the run is limited by the clock"""
    arcs: tuple[Arc, ...]

    @classmethod
    def make(cls, config: ScheduleConfig, stretches: Sequence[Stretch]) -> Plan:
        """Translate epochs or tokens into steps.

        Raises:
            InputError: the warm-up or a phase begins or ends after the run.
        """
        total = count_steps(config, stretches)
        last = stretches[-1].first_step
        if total is not None and last and last >= total:
            raise InputError(
                f"phases: the last begins at step {last}, but the run ends at step {total}: begin "
                "it earlier or train for longer"
            )
        later = [
            Arc(stretch.first_step, stretch.phase.learning_rate, stretch.phase.warmup_fraction)
            for stretch in stretches
            if stretch.first_step and stretch.phase.learning_rate is not None
        ]
        end = later[0].first_step if later else total
        if end is not None and config.warmup_steps >= end:
            raise InputError(
                f"schedule.warmup_steps={config.warmup_steps} leaves nothing of the run's {end} "
                "steps: lower the warm-up or train for longer"
            )
        first = stretches[0].phase
        warmup = first.warmup_fraction or config.warmup_fraction
        if end is not None and config.warmup_steps and not first.warmup_fraction:
            warmup = config.warmup_steps / (end + 1)
        return cls(config, total, (Arc(0, first.learning_rate, warmup), *later))

    def progress(self, step: int, elapsed_minutes: float) -> float:
        """Where step `step` (from 0) lies in the run, above 0; 1 and more means it is over."""
        if self.total_steps is None:
            return max(elapsed_minutes / self.config.max_minutes, 1e-6)
        return (step + 1) / (self.total_steps + 1)

    def learning_rate(self, peak: float, step: int, progress: float) -> float:
        """The rate of a step; `peak` is the optimizer's."""
        number = bisect_right(self.arcs, step, key=lambda arc: arc.first_step) - 1
        arc = self.arcs[number]
        if len(self.arcs) > 1:
            ends = [arc.first_step for arc in self.arcs[1:]] + [self.total_steps]
            progress = (step + 1 - arc.first_step) / (ends[number] + 1 - arc.first_step)
        return (arc.peak or peak) * self._factor(progress, arc.warmup)

    def _factor(self, progress: float, warmup: float) -> float:
        """Share of the peak: up in a line, then down by the chosen decay to 0."""
        if progress < warmup:
            return progress / warmup
        if self.config.decay == "constant":
            return 1.0
        left = max(0.0, (1 - progress) / (1 - warmup))
        return left if self.config.decay == "linear" else (1 - math.cos(math.pi * left)) / 2


def count_steps(config: ScheduleConfig, stretches: Sequence[Stretch]) -> int | None:
    """Steps of the run; None where the clock limits it."""
    if config.max_steps is not None or config.max_minutes is not None:
        return config.max_steps
    left = config.max_epochs if config.max_tokens is None else config.max_tokens
    for number, stretch in enumerate(stretches):
        unit = 1 if config.max_tokens is None else stretch.tokens_per_epoch
        steps = math.ceil(left * stretch.steps_per_epoch / unit)
        is_last = number + 1 == len(stretches)
        if is_last or stretch.first_step + steps <= stretches[number + 1].first_step:
            return stretch.first_step + steps
        done = stretches[number + 1].first_step - stretch.first_step
        left -= done * unit / stretch.steps_per_epoch
    raise ValueError("no stretches")
