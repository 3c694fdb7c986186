"""Which samples a step sees, and how they are dealt to the ranks.

Law 2: step `s` names its samples without looking at rank or world size. An epoch is cut into
equally large steps of about `batch.sequences` x `max_length` tokens, so that formats with short
samples see as much text per step as those with long ones (RoBERTa, section 4.2). Each step is then
cut into micro-batches, which are dealt to the ranks; neither the objective nor dropout sees where.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count

import numpy as np

from configs.errors import InputError
from pretrain.batch import MicroBatch
from pretrain.data.collate import Collator
from pretrain.randomness import Purpose, permutation


class Batches:
    """The training data as a function of the step."""

    def __init__(self, collate: Collator) -> None:
        self.collate, self.config = collate, collate.config
        self._plan = lru_cache(maxsize=2)(self._epoch_plan)
        self.tokens_per_epoch = int(collate.index(0).lengths.sum())
        self.steps_per_epoch = self._count_steps()

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[MicroBatch]:
        """The micro-batches that `rank` computes in `step` (from 0)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order, bounds = self._plan(epoch)
        samples = order[bounds[within] : bounds[within + 1]]
        parts = self._micro_batches(samples, epoch, self.config.batch.micro_batches(world_size))
        return [self.collate(part, epoch, step) for part in parts[rank::world_size]]

    def prefetched(
        self, first: int, last: int | None, rank: int = 0, world_size: int = 1
    ) -> Iterator[list[MicroBatch]]:
        """`step(s)` for s in [first, last), each made in a thread while the one before is used.

        Without a `last`, for a run that the clock ends, the steps go on for ever.
        """
        with ThreadPoolExecutor(1, "batches") as pool:
            ready = pool.submit(self.step, first, rank, world_size)
            for step in count(first) if last is None else range(first, last):
                batches = ready.result()
                if step + 1 != last:
                    ready = pool.submit(self.step, step + 1, rank, world_size)
                yield batches

    def _count_steps(self) -> int:
        batch = self.config.batch.sequences * self.config.max_length
        if self.tokens_per_epoch < batch:
            raise InputError(
                f"the corpus makes {self.tokens_per_epoch:,} tokens of samples, less than one "
                f"batch of {batch:,} (batch.sequences x max_length): give more text or lower one "
                "of the two"
            )
        return -(-self.tokens_per_epoch // batch)

    def _epoch_plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(order, bounds): step k of the epoch sees the samples order[bounds[k]:bounds[k + 1]]."""
        lengths = self.collate.index(epoch).lengths
        order = permutation(self.config.seed, Purpose.SAMPLE_ORDER, epoch, len(lengths))
        return order, equal_parts(lengths[order], self.steps_per_epoch)

    def _micro_batches(self, samples: np.ndarray, epoch: int, parts: int) -> list[np.ndarray]:
        """The step's samples in equal parts, alike in length: the objective does not see order."""
        lengths = self.collate.index(epoch).lengths_of(samples)
        if len(samples) < parts:
            raise InputError(
                f"a step holds {len(samples)} samples, too few for {parts} micro-batches: "
                "raise batch.micro_sequences, raise batch.sequences, or use fewer ranks"
            )
        by_length = np.argsort(lengths, kind="stable")
        bounds = equal_parts(lengths[by_length], parts)
        return [samples[by_length[a:b]] for a, b in zip(bounds, bounds[1:])]


def heldout_batches(collate: Collator, rank: int = 0, world_size: int = 1) -> list[MicroBatch]:
    """`rank`'s share of a fixed, fixedly masked choice of the held-out samples.

    About `evaluation.sequences` x `max_length` tokens, all ranks together.
    """
    config, index = collate.config, collate.index(0)
    order = permutation(config.seed, Purpose.SAMPLE_ORDER, 0, len(index))
    lengths = index.lengths[order]
    wanted = config.evaluation.sequences * config.max_length
    chosen = order[np.cumsum(lengths) - lengths < wanted]
    by_length = chosen[np.argsort(index.lengths_of(chosen), kind="stable")]
    tokens = int(index.lengths_of(chosen).sum())
    parts = -(-tokens // (config.batch.micro_sequences * config.max_length))
    bounds = equal_parts(index.lengths_of(by_length), min(parts, len(by_length)))
    micro_batches = [by_length[a:b] for a, b in zip(bounds, bounds[1:])]
    return [collate(samples, 0, 0) for samples in micro_batches[rank::world_size]]


def equal_parts(lengths: np.ndarray, parts: int) -> np.ndarray:
    """Bounds, int64 (parts + 1), that cut a row of samples into parts of about equal tokens.

    No part is empty as long as there are enough samples.
    """
    starts = np.cumsum(lengths) - lengths
    number = np.arange(parts + 1)
    bounds = np.searchsorted(starts * parts // lengths.sum(), number)
    bounds = np.maximum.accumulate(bounds - number) + number
    return np.minimum(bounds, len(lengths) - parts + number)
