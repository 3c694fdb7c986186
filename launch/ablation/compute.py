"""The arithmetic of a run: how many FLOPs its tokens take, and how many steps FLOPs pay for.

Useful FLOPs of `pretrain/model/flops.py`, with all sequences full and as many predicted tokens as
the mask rate asks for, so that a budget is known before there is a corpus, and old runs have it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from configs.schema import LIMITS, PretrainConfig
from launch.diagnosis.projection import Data, step_flops
from pretrain.arrays import Floats


@dataclass(frozen=True)
class Work:
    """Where the phases of a run begin, and what a token costs in each; arrays of one length."""

    steps: Floats
    tokens: Floats
    flops: Floats
    step_tokens: Floats
    step_flops: Floats

    @classmethod
    def of(cls, config: PretrainConfig, vocabulary_size: int) -> Work:
        """By the phases of a configuration, whose samples are full."""
        phases = Data.without_corpus(config.resolved(1)).phases
        steps = np.array([phase.place.first_step for phase in phases], float)
        tokens = np.array([phase.place.tokens_per_epoch for phase in phases], float)
        flops = np.array([step_flops(p.config, vocabulary_size, None) for p in phases], float)
        taken = np.diff(steps)

        def begins(each: Floats) -> Floats:
            return np.concatenate([[0.0], np.cumsum(taken * each[:-1])])

        return cls(steps, begins(tokens), begins(flops), tokens, flops)

    def flops_at(self, tokens: Floats) -> Floats:
        """FLOPs up to each of these numbers of training tokens."""
        phase = np.searchsorted(self.tokens, tokens, "right") - 1
        per_token = self.step_flops[phase] / self.step_tokens[phase]
        return self.flops[phase] + (tokens - self.tokens[phase]) * per_token

    def tokens_after(self, steps: float) -> float:
        """Training tokens of the first steps."""
        phase = int(np.searchsorted(self.steps, steps, "right")) - 1
        return float(self.tokens[phase] + (steps - self.steps[phase]) * self.step_tokens[phase])


def steps_for(config: PretrainConfig, vocabulary_size: int, flops: float) -> int:
    """The most steps of a recipe that need no more than `flops`, at least 1.

    A phase that begins at a share of the run begins later in a longer one, so that the length is
    searched for, not computed.
    """

    def needed(steps: int) -> float:
        sized = with_limit(config, max_steps=steps)
        work = Work.of(sized, vocabulary_size)
        return float(work.flops_at(np.array([work.tokens_after(steps)]))[0])

    cheapest = min(Work.of(with_limit(config, max_steps=10**6), vocabulary_size).step_flops)
    return max(1, bisect_right(range(1, int(flops / cheapest) + 2), flops, key=needed))


def with_limit(config: PretrainConfig, **limit: float) -> PretrainConfig:
    """The recipe with this limit of its schedule in place of its own."""
    none: dict[str, Any] = dict.fromkeys(LIMITS)
    return replace(config, schedule=replace(config.schedule, **{**none, **limit}))
