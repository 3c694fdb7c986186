"""The learning rate as a function of progress: nothing to save, nothing to step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from configs.errors import InputError
from configs.schema import ScheduleConfig


@dataclass(frozen=True)
class Plan:
    """How long the run is, and the learning rate along it."""

    config: ScheduleConfig
    total_steps: int | None
    """None where the run is limited by the clock"""

    @classmethod
    def make(cls, config: ScheduleConfig, steps_per_epoch: int, tokens_per_epoch: int) -> Plan:
        """Translate epochs or tokens into steps; `InputError` where warm-up outlasts the run."""
        if config.max_steps is not None:
            steps = config.max_steps
        elif config.max_epochs is not None:
            steps = math.ceil(config.max_epochs * steps_per_epoch)
        elif config.max_tokens is not None:
            steps = math.ceil(config.max_tokens * steps_per_epoch / tokens_per_epoch)
        else:
            steps = None
        if steps is not None and config.warmup_steps >= steps:
            raise InputError(
                f"schedule.warmup_steps={config.warmup_steps} leaves nothing of the run's {steps} "
                "steps: lower the warm-up or train for longer"
            )
        return cls(config, steps)

    def progress(self, step: int, elapsed_minutes: float) -> float:
        """Where step `step` (from 0) lies in the run, above 0; 1 and more means it is over."""
        if self.total_steps is None:
            return max(elapsed_minutes / self.config.max_minutes, 1e-6)
        return (step + 1) / (self.total_steps + 1)

    def learning_rate_factor(self, progress: float) -> float:
        """Share of the peak learning rate: up in a line, then down by the chosen decay to 0."""
        warmup = self.config.warmup_fraction
        if self.total_steps is not None and self.config.warmup_steps:
            warmup = self.config.warmup_steps / (self.total_steps + 1)
        if progress < warmup:
            return progress / warmup
        if self.config.decay == "constant":
            return 1.0
        left = max(0.0, (1 - progress) / (1 - warmup))
        return left if self.config.decay == "linear" else (1 - math.cos(math.pi * left)) / 2
