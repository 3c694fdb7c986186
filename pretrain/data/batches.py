"""Which samples a step sees, and how they are dealt to the ranks.

Law 2: step `s` names its samples without looking at rank or world size. An epoch is cut into
equally large steps of about `batch.sequences` x `max_length` tokens, so that formats with short
samples see as much text per step as those with long ones (RoBERTa, section 4.2). Each step is then
cut into micro-batches, which are dealt to the ranks like cards. What a sample contributes does not
depend on where it is computed: the loss is divided by the predicted tokens of the whole step, and
dropout is keyed by the sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import torch

from configs.errors import InputError
from configs.schema import ResolvedBatchConfig
from pretrain.arrays import Ints
from pretrain.batch import MicroBatch
from pretrain.data.collate import Collator
from pretrain.data.prefetch import prefetched
from pretrain.data.sample_index import SampleIndex
from pretrain.randomness import Purpose, Shuffle, permutation

READ_SAMPLES = 1 << 20
"""whose lengths are looked at together"""

Batch = TypeVar("Batch", bound=MicroBatch)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Position:
    """A place in the training data."""

    step: int = 0
    epoch: int = 0
    sample: int = 0
    """how many of the epoch's samples, in its order, were seen"""


@dataclass(frozen=True)
class Fields:
    """What the fields that decide the size of a step are called, for who must change one."""

    sequences: str = "batch.sequences"
    max_length: str = "max_length"


class Steps(ABC, Generic[Batch]):
    """Training data as a function of the step."""

    @abstractmethod
    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[Batch]:
        """The micro-batches that `rank` computes in `step` (from 0)."""

    def prefetched(
        self,
        first: int,
        last: int | None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device = CPU,
    ) -> Iterator[list[Batch]]:
        """`step(s)` for s in [first, last), ready for `device`, each made while the one before is
        used.

        Without a `last`, for a run that the clock ends, there is no last step.
        """
        steps = count(first) if last is None else range(first, last)
        return prefetched(
            [batch.ready_for(device) for batch in self.step(step, rank, world_size)]
            for step in steps
        )


class Batches(Steps[MicroBatch]):
    """Steps of one size and one length, from a position on."""

    def __init__(
        self,
        collate: Collator,
        batch: ResolvedBatchConfig | None = None,
        start: Position = Position(),
        mask_rate: Callable[[int], float] | None = None,
        fields: Fields = Fields(),
    ) -> None:
        """Args:
        batch: in place of the configuration's.
        mask_rate: share of tokens to predict in a step; None: the configuration's in all.
        fields: those that batch and length are from.

        Raises:
            InputError: the corpus is less than one step.
        """
        self.mask_rate, self.fields = mask_rate, fields
        self.collate, self.config = collate, collate.config
        self.batch = batch or self.config.batch
        self._steps_of = lru_cache(maxsize=2)(self._cut_epoch)
        self.tokens_per_epoch = collate.index(0).tokens
        self.steps_per_epoch = self._count_steps()
        self.start, self._steps_left = self._settle(start)

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[MicroBatch]:
        """The micro-batches that `rank` computes in `step` (from 0).

        Raises:
            InputError: the step has fewer samples than there are ranks.
        """
        epoch, within = self._place(step)
        order, bounds = self._steps_of(epoch)
        samples = order.at(np.arange(bounds[within], bounds[within + 1]))
        self._require(len(samples), world_size)
        # Equal steps are of a little less than `sequences`: where a micro-batch is of one or two,
        # a step of long samples may hold fewer of them than it has micro-batches. Then there are
        # fewer, as many for every rank, and none is empty.
        most = len(samples) - len(samples) % world_size
        number = min(self.batch.micro_batches(world_size), most)
        parts = self._micro_batches(samples, epoch, number)
        rate = self.mask_rate(step) if self.mask_rate else None
        return [self.collate(part, epoch, step, rate) for part in parts[rank::world_size]]

    def position(self, step: int) -> Position:
        """Where `step` begins."""
        epoch, within = self._place(step)
        _, bounds = self._steps_of(epoch)
        return Position(step, epoch, int(bounds[within]))

    def require_samples(self, ranks: int, steps: int | None) -> None:
        """Refuse now what `step` would refuse in the middle of a run.

        Args:
            steps: how many are made of these batches; None: as long as it takes.
        Raises:
            InputError: one of these steps, in the first epoch, has fewer samples than ranks.
        """
        tokens = self.tokens_per_epoch / self.steps_per_epoch
        if tokens / self.config.max_length >= ranks + 1:
            return  # be they as long as they may
        _, bounds = self._steps_of(self.start.epoch)
        self._require(int(np.diff(bounds)[:steps].min()), ranks)

    def _require(self, samples: int, ranks: int) -> None:
        if samples < ranks:
            length, fields = self.config.max_length, self.fields
            raise InputError(
                f"a step holds {samples} sample{'s' if samples > 1 else ''} of up to {length:,} "
                f"tokens, too few for {ranks} ranks: raise {fields.sequences}="
                f"{self.batch.sequences}, lower {fields.max_length}={length}, or use fewer ranks"
            )

    def _place(self, step: int) -> tuple[int, int]:
        """(epoch, number of the step inside it)."""
        step -= self.start.step
        if step < self._steps_left:
            return self.start.epoch, step
        epochs, within = divmod(step - self._steps_left, self.steps_per_epoch)
        return self.start.epoch + 1 + epochs, within

    def _count_steps(self) -> int:
        batch = self.batch.sequences * self.config.max_length
        if self.tokens_per_epoch < batch:
            raise InputError(
                f"the corpus makes {self.tokens_per_epoch:,} tokens of samples, less than one "
                f"batch of {batch:,} ({self.fields.sequences} x {self.fields.max_length}): give "
                "more text or lower one of the two"
            )
        return -(-self.tokens_per_epoch // batch)

    def _settle(self, start: Position) -> tuple[Position, int]:
        """(where to begin, steps of the epoch that are left there).

        What was seen of the epoch is not seen again. A rest of less than half a step is left out:
        it would be a step at the full learning rate, of a few samples.
        """
        if not start.sample:
            return start, self.steps_per_epoch
        index, order = self._order(start.epoch)
        left = sum(int(part.sum()) for part in _lengths(index, order, start.sample))
        rest = left / index.tokens * self.steps_per_epoch
        if rest < 0.5:
            return Position(start.step, start.epoch + 1), self.steps_per_epoch
        return start, round(rest)

    def _order(self, epoch: int) -> tuple[SampleIndex, Shuffle]:
        """The samples of an epoch, and the order in which they come."""
        index = self.collate.index(epoch)
        return index, Shuffle(self.config.seed, Purpose.SAMPLE_ORDER, epoch, len(index))

    def _cut_epoch(self, epoch: int) -> tuple[Shuffle, Ints]:
        """(order, bounds): step k of the epoch sees the samples that come from place bounds[k] of
        the order on, up to bounds[k + 1]."""
        index, order = self._order(epoch)
        seen, steps = 0, self.steps_per_epoch
        if epoch == self.start.epoch:
            seen, steps = self.start.sample, self._steps_left
        tokens = index.tokens
        if seen:
            tokens = sum(int(part.sum()) for part in _lengths(index, order, seen))
        lengths = _lengths(index, order, seen)
        return order, seen + bounds_of_parts(lengths, tokens, len(order) - seen, steps)

    def _micro_batches(self, samples: Ints, epoch: int, parts: int) -> list[Ints]:
        """The step's samples in `parts` of about equal tokens, each of samples alike in length."""
        lengths = self.collate.index(epoch).lengths_of(samples)
        # Attention pads to the longest of its micro-batch where it pads at all; sorted by length,
        # little is padded. The objective is a sum over the step and does not see the order.
        by_length = np.argsort(lengths, kind="stable")
        bounds = equal_parts(lengths[by_length], parts)
        return [samples[by_length[a:b]] for a, b in zip(bounds, bounds[1:])]


def heldout_batches(collate: Collator, rank: int = 0, world_size: int = 1) -> list[MicroBatch]:
    """`rank`'s share of a fixed, fixedly masked choice of the held-out samples.

    About `evaluation.sequences` x `max_length` tokens, all ranks together.
    """
    config, index = collate.config, collate.index(0)
    order = permutation(config.seed, Purpose.SAMPLE_ORDER, 0, len(index))
    lengths = index.lengths_of(order)
    wanted = config.evaluation.sequences * config.max_length
    chosen = order[np.cumsum(lengths) - lengths < wanted]
    parts = micro_batches_of(collate, chosen)[rank::world_size]
    return [collate.with_sources(collate(samples, 0, 0)) for samples in parts]


def micro_batches_of(collate: Collator, chosen: Ints) -> list[Ints]:
    """Samples of a first epoch in micro-batches of the run's size, alike in length in each."""
    config, index = collate.config, collate.index(0)
    by_length = chosen[np.argsort(index.lengths_of(chosen), kind="stable")]
    lengths = index.lengths_of(by_length)
    parts = -(-int(lengths.sum()) // (config.batch.micro_sequences * config.max_length))
    bounds = equal_parts(lengths, min(parts, len(chosen)))
    return [by_length[a:b] for a, b in zip(bounds, bounds[1:])]


def _lengths(index: SampleIndex, order: Shuffle, first: int) -> Iterator[Ints]:
    """Tokens of an epoch's samples in their order, from place `first` on, a million at a time."""
    for start in range(first, len(order), READ_SAMPLES):
        places = np.arange(start, min(start + READ_SAMPLES, len(order)))
        yield index.lengths_of(order.at(places))


def equal_parts(lengths: Ints, parts: int) -> Ints:
    """Bounds (parts + 1) that cut a row of samples into parts of about equal tokens.

    No part is empty as long as there are enough samples.
    """
    return bounds_of_parts([lengths], int(lengths.sum()), len(lengths), parts)


def bounds_of_parts(lengths: Iterable[Ints], tokens: int, samples: int, parts: int) -> Ints:
    """The same for samples whose lengths are given some at a time; `tokens` is the sum of all, and
    `samples` their number."""
    number = np.arange(parts + 1)
    bounds, before = np.zeros(parts + 1, np.int64), 0
    for own in lengths:
        starts = before + np.cumsum(own) - own
        before += int(own.sum())
        # A sample is of the part in which its first token lies, all tokens being cut into equal
        # parts; a part's bound is the number of samples that are of earlier ones.
        bounds += np.searchsorted(starts * parts // tokens, number)
    # One sample may cover several parts, and those after its first would be empty. Less its number
    # no bound may fall below the one before, so that each part has one sample at least; and from
    # the other end, no bound may leave fewer samples than parts.
    bounds = np.maximum.accumulate(bounds - number) + number
    return np.minimum(bounds, samples - parts + number)
