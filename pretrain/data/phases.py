"""Phases of a run: batch size, sequence length and mask rate as a function of the step.

A phase continues where the one before it stopped: with the same length in the middle of the epoch,
so that a batch-size warm-up sees each sample once; with another length, which cuts the corpus anew,
at the next epoch.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from configs.errors import InputError
from configs.schema import (
    PhaseConfig,
    PretrainConfig,
    ResolvedBatchConfig,
    ResolvedPretrainConfig,
    ScheduleConfig,
)
from pretrain.batch import MicroBatch
from pretrain.data.batches import Batches, Fields, Position, Steps
from pretrain.data.collate import Collator
from pretrain.data.formats import require_pairs
from pretrain.data.masking import Vocabulary
from pretrain.data.store import TokenStore
from pretrain.optim.schedule import Phase, count_steps


class PhasedBatches(Steps[MicroBatch]):
    """The training data of all phases."""

    def __init__(
        self, store: TokenStore, config: ResolvedPretrainConfig, vocabulary: Vocabulary
    ) -> None:
        """Raises `InputError` for phases that do not follow one another."""
        self.config, self.configs = config, phases_of(config)
        self.by_phase: list[Batches] = []
        collators: dict[int, Collator] = {}
        for number, phase in enumerate(self.configs):
            length = phase.max_length or config.max_length
            if length not in collators:
                collators[length] = Collator(store, config.of_length(length), vocabulary)
                require_pairs(collators[length].index(0), store, config)
            collate, start = collators[length], Position()
            if number:
                start = self._next_start(number, collate is self.by_phase[-1].collate)
            batch = batch_of(config, phase)
            self.by_phase.append(
                Batches(collate, batch, start, self.mask_rate, self._fields(number))
            )
        self.total_steps = count_steps(config.schedule, self.phases)

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[MicroBatch]:
        """The micro-batches that `rank` computes in `step`, by the phase that it lies in."""
        return self.by_phase[self._number(step)].step(step, rank, world_size)

    def require_samples(self, ranks: int) -> None:
        """Raise `InputError` where a step, in the first epoch of a phase, has fewer samples than
        ranks."""
        ends = [*(own.start.step for own in self.by_phase[1:]), self.total_steps]
        for own, end in zip(self.by_phase, ends):
            own.require_samples(ranks, None if end is None else end - own.start.step)

    def _number(self, step: int) -> int:
        """Of the phase that a step lies in."""
        return bisect_right(self.by_phase, step, key=lambda own: own.start.step) - 1

    def rope_theta(self, step: int) -> float:
        """Base of the rotary angles in `step`, by the phase that it lies in."""
        return self.configs[self._number(step)].rope_theta or self.config.model.rope_theta

    def mask_rate(self, step: int) -> float:
        """Share of tokens to predict in `step`: a function of it, as its masks are (law 1)."""
        first, final = self.config.masking.probability, self.config.masking.final_probability
        if final is None:
            return self.configs[self._number(step)].mask_probability or first
        assert self.total_steps is not None, "the configuration is refused else"
        way = min(1.0, step / max(1, self.total_steps - 1))
        return first + way * (final - first)

    @property
    def phases(self) -> list[Phase]:
        """What the schedule has to know."""
        return [
            Phase(own.start.step, own.steps_per_epoch, own.tokens_per_epoch, config)
            for own, config in zip(self.by_phase, self.configs)
        ]

    def _name(self, number: int) -> str:
        """What a phase is called in the configuration, where the first may have no entry."""
        return f"phases.{number - len(self.configs) + len(self.config.phases)}"

    def _fields(self, number: int) -> Fields:
        """Where a phase's batch and length are set."""
        if not number and len(self.configs) > len(self.config.phases):
            return Fields()
        return Fields(f"{self._name(number)}.sequences", f"{self._name(number)}.max_length")

    def _next_start(self, number: int, same_length: bool) -> Position:
        """Where phase `number` begins, those before it being known."""
        phase, before = self.configs[number], self.by_phase[-1]
        step = phase.from_steps
        if step is None:
            # Steps are of one size within a phase only: tokens are counted phase by phase.
            tokens = (phase.from_tokens or 0) - self._tokens_before()
            step = before.start.step + round(
                tokens * before.steps_per_epoch / before.tokens_per_epoch
            )
        if step <= before.start.step:
            earlier = self._name(number - 1) if before.start.step else "the run itself"
            raise InputError(
                f"{self._name(number)} begins at step {step}, not after {earlier}, which begins at "
                f"step {before.start.step}: put them in order"
            )
        place = before.position(step)
        if same_length or not place.sample:
            return place
        # Another length has other samples: which of them were seen in this epoch nobody can say.
        return Position(step, place.epoch + 1)

    def _tokens_before(self) -> float:
        """Tokens of all known phases but the last."""
        return sum(
            (after.start.step - own.start.step) * own.tokens_per_epoch / own.steps_per_epoch
            for own, after in zip(self.by_phase, self.by_phase[1:])
        )


def phases_of(config: PretrainConfig) -> list[PhaseConfig]:
    """The phases, the first of which begins with the run; a mask rate that stays is written out,
    and so is the step or token of a share."""
    phases = [_placed(phase, config.schedule) for phase in config.phases]
    if not phases or not phases[0].begins_at_once:
        phases.insert(0, PhaseConfig())
    for number, phase in enumerate(phases[1:], 1):
        rate = phase.mask_probability or phases[number - 1].mask_probability
        phases[number] = replace(phase, mask_probability=rate)
    # Of a run of one step most phases are no step: what counts is the last that begins with it.
    empty = [n for n, phase in enumerate(phases) if n and phase.begins_at_once]
    return phases[max(empty, default=0) :]


def _placed(phase: PhaseConfig, schedule: ScheduleConfig) -> PhaseConfig:
    """The phase with a beginning in steps or tokens, as the run's limit is."""
    share = phase.from_fraction
    if share is None:
        return phase
    if schedule.max_steps:
        return replace(phase, from_steps=int(share * schedule.max_steps), from_fraction=None)
    assert schedule.max_tokens, "the configuration is refused else"
    return replace(phase, from_tokens=int(share * schedule.max_tokens), from_fraction=None)


def batch_of(config: ResolvedPretrainConfig, phase: PhaseConfig) -> ResolvedBatchConfig:
    """The batch of a phase; a micro-batch holds as many tokens in all of them."""
    sequences = phase.sequences or config.batch.sequences
    length = phase.max_length or config.max_length
    micro = max(1, config.batch.micro_sequences * config.max_length // length)
    return replace(config.batch, sequences=sequences, micro_sequences=micro)
