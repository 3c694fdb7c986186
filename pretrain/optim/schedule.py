"""The learning rate as a function of progress: nothing to save, nothing to step.

Of N steps, numbered from 1, of which w warm up, step n has this share of the peak:

    n / w                        up to step w, which has the peak; without a warm-up step 1 has it
    (N + 1 - n) / (N + 1 - w)    then, for a linear decay; a run without warm-up counts as w = 1

With w = 0 that is `get_linear_schedule_with_warmup(0, N)` of transformers. With a warm-up it is
theirs for (w, N + 1) without its first step, whose rate is 0; no step here has a rate of 0. BERT's
own script decays from step 0 on, warm-up or not, and so jumps down at the end of its warm-up.
Where the clock ends a run, the place in it is the time that has passed, and the peak lies at the
end of the warm-up's minutes.

With `decay: wsd` (warm-up, stable, decay: Hu et al., 2024; Haegele et al., 2024) the decay begins
not at w but at N - d, of d steps that decay: up to there the rate is the peak, whatever N and d.
The share of the decay that is left is taken as it is, or, for `1-sqrt`, as 1 - sqrt(1 - left).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from configs.errors import InputError
from configs.schema import PhaseConfig, ScheduleConfig

EARLIEST = 1e-6
"""share of a warm-up by the clock at which a step of minute 0 stands: above a rate of 0"""


@dataclass(frozen=True)
class Phase:
    """A part of the run in which all steps are of one size."""

    first_step: int
    steps_per_epoch: int
    tokens_per_epoch: int
    config: PhaseConfig = field(default_factory=PhaseConfig)
    """what the user asked for"""


@dataclass(frozen=True)
class RateCurve:
    """One warm-up and decay: of the run, or from a phase with a learning rate of its own on."""

    first_step: int
    length: float
    """steps + 1; 1 where the clock measures the way"""
    warmup: float
    """steps, at least 1, as the peak is one of the steps; a share where the clock measures"""
    decays_from: float
    """the last place at the peak; of wsd alone it is not `warmup`"""
    peak: float | None
    """learning rate; None: that of the optimizer"""

    @classmethod
    def of_steps(cls, begin: Phase, end: int, config: ScheduleConfig) -> RateCurve:
        """All steps from a phase's first one up to `end`."""
        steps, phase = end - begin.first_step, begin.config
        if begin.first_step or phase.warmup_fraction:
            warmup = share_of_steps(phase.warmup_fraction, steps)
        else:
            warmup = config.warmup_steps or share_of_steps(config.warmup_fraction, steps)
            if config.warmup_steps >= steps:
                raise InputError(
                    f"schedule.warmup_steps={config.warmup_steps} leaves nothing of the run's "
                    f"{steps} steps: lower the warm-up or train for longer"
                )
        warmup = decays_from = max(1, warmup)
        if config.decay == "wsd":
            stable = steps - share_of_steps(config.decay_fraction, steps)
            # Shares are rounded up, both of them: by that one step they may overlap.
            require_room(config, warmup, stable + 1, f"{steps} steps")
            decays_from = max(warmup, stable)
        return cls(begin.first_step, steps + 1, warmup, decays_from, phase.learning_rate)

    @classmethod
    def of_minutes(cls, begin: Phase, config: ScheduleConfig) -> RateCurve:
        """The whole run, where the clock ends it."""
        warmup = decays_from = begin.config.warmup_fraction or config.warmup_fraction
        if config.decay == "wsd":
            # 1 - 0.9 is 0.09999999999999998 in binary.
            decays_from = round(1 - config.decay_fraction, 12)
            require_room(config, warmup, decays_from, "time")
        return cls(0, 1.0, warmup, decays_from, begin.config.learning_rate)

    def factor(self, place: float, config: ScheduleConfig) -> float:
        """Share of the peak: up in a line, then down by the chosen decay to 0.

        Args:
            place: the step's number inside the curve, from 1, or the share of the clock's time.
        """
        if place < self.warmup:
            return place / self.warmup
        if config.decay == "constant" or place <= self.decays_from:
            return 1.0
        left = max(0.0, (self.length - place) / (self.length - self.decays_from))
        if config.decay == "cosine":
            return (1 - math.cos(math.pi * left)) / 2
        if config.decay == "wsd" and config.decay_shape == "1-sqrt":
            return 1 - math.sqrt(1 - left)
        return left


@dataclass(frozen=True)
class Schedule:
    """How long the run is, and the learning rate along it."""

    config: ScheduleConfig
    total_steps: int | None
    """None where the run is limited by the clock"""
    curves: tuple[RateCurve, ...]

    @classmethod
    def make(cls, config: ScheduleConfig, phases: Sequence[Phase]) -> Schedule:
        """Translate epochs or tokens into steps.

        Raises:
            InputError: the warm-up or a phase begins or ends after the run.
        """
        total = count_steps(config, phases)
        last = phases[-1].first_step
        if total is not None and last and last >= total:
            raise InputError(
                f"phases: the last begins at step {last}, but the run ends at step {total}: begin "
                "it earlier or train for longer"
            )
        if total is None:
            return cls(config, None, (RateCurve.of_minutes(phases[0], config),))
        begins = [phases[0], *(p for p in phases[1:] if p.config.learning_rate is not None)]
        ends = [*(phase.first_step for phase in begins[1:]), total]
        curves = (RateCurve.of_steps(phase, end, config) for phase, end in zip(begins, ends))
        return cls(config, total, tuple(curves))

    def progress(self, step: int, elapsed_minutes: float) -> float:
        """The share of the run that `step` steps have done; 1 and more means it is over."""
        if self.total_steps is not None:
            return step / self.total_steps
        assert self.config.max_minutes is not None, "what else limits the run"
        return elapsed_minutes / self.config.max_minutes

    def minutes_left(self, step: int, elapsed_minutes: float) -> float:
        """What the rest takes at the pace of the first `step` steps."""
        done = self.progress(step, elapsed_minutes)
        return elapsed_minutes * (1 - done) / done if 0 < done < 1 else 0.0

    def learning_rate(self, peak: float, step: int, progress: float) -> float:
        """The rate of step `step` (from 0); `peak` is the optimizer's.

        `progress` is what `progress` says of the step; it decides where the clock ends the run.
        """
        number = bisect_right(self.curves, step, key=lambda curve: curve.first_step) - 1
        curve = self.curves[number]
        place: float = step + 1 - curve.first_step
        if self.total_steps is None:
            # By the clock the first step stands at minute 0, where a warm-up has a rate of 0: that
            # step would teach nothing.
            place = max(progress, EARLIEST * curve.warmup)
        return (curve.peak or peak) * curve.factor(place, self.config)

    def require_same_rate(self, peak: float, step: int, before: float) -> None:
        """Raise `InputError` where `step` steps of a wsd schedule would have ended at another rate
        than `before`, that of the last of them: then the run resumes from a decay of another run.

        Up to its decay such a schedule is the same whatever comes after, so its rate tells.
        """
        if self.config.decay != "wsd" or self.total_steps is None or step == 0:
            return
        here = self.learning_rate(peak, step - 1, 0.0)
        if not math.isclose(here, before, rel_tol=1e-9):
            raise InputError(
                f"schedule.decay=wsd: the checkpoint of step {step} was left at a learning rate of "
                f"{before:g}, where this schedule has {here:g}: resume from a checkpoint of the "
                "stable part of both, or say checkpoint.allow_changes=[schedule.decay]"
            )


def require_room(config: ScheduleConfig, warmup: float, end: float, length: str) -> None:
    """Raise `InputError` where a wsd schedule's warm-up goes beyond `end`, where its decay begins.

    Args:
        length: of the way, for the message.
    """
    if warmup > end:
        raise InputError(
            f"schedule.decay_fraction={config.decay_fraction} and a warm-up of {warmup:g} are more "
            f"than the {length} that they share: lower one of them or train for longer"
        )


def share_of_steps(share: float, steps: int) -> int:
    """A warm-up that is given as a share, in whole steps, so that one of them has the peak.

    Rounded up, as transformers does.
    """
    # 0.07 x 100 is 7.000000000000001 in binary: without `round` that would be 8 steps.
    return math.ceil(round(share * steps, 6))


def count_steps(config: ScheduleConfig, phases: Sequence[Phase]) -> int | None:
    """Steps of the run; None where the clock limits it."""
    if config.max_steps is not None or config.max_minutes is not None:
        return config.max_steps
    left = config.max_epochs if config.max_tokens is None else config.max_tokens
    assert left is not None, "one of the four limits is set"
    # Epochs or tokens are used up phase by phase, as a step is not equally large in all of them.
    for number, phase in enumerate(phases):
        unit = 1 if config.max_tokens is None else phase.tokens_per_epoch
        steps = math.ceil(left * phase.steps_per_epoch / unit)
        is_last = number + 1 == len(phases)
        if is_last or phase.first_step + steps <= phases[number + 1].first_step:
            return phase.first_step + steps
        done = phases[number + 1].first_step - phase.first_step
        left -= done * unit / phase.steps_per_epoch
    raise ValueError("no phases")
