"""Features to flat micro-batches, dealt to steps and ranks as in pretraining (law 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from configs.errors import InputError
from configs.schema import ResolvedBatchConfig
from finetune.tasks.feature import Feature
from pretrain.batch import MicroBatch
from pretrain.data.batches import Steps, equal_parts
from pretrain.randomness import Purpose, keys_64, permutation

MAX_OPTIONS = 64
"""dropout keys number the sequences of a feature below this"""


@dataclass(frozen=True)
class TaskBatch:
    """Some features, laid end to end."""

    inputs: MicroBatch
    targets: Tensor
    """the features' targets, concatenated"""
    features: tuple[int, ...]
    """which features these are, by index"""

    def to(self, device: torch.device) -> TaskBatch:
        """The same batch on `device`."""
        targets = self.targets.to(device, non_blocking=True)
        return TaskBatch(self.inputs.to(device), targets, self.features)


class TaskBatches(Steps[TaskBatch]):
    """The training features as a function of the step; an epoch is a permutation of all."""

    def __init__(self, features: Sequence[Feature], batch: ResolvedBatchConfig, seed: int) -> None:
        self.features, self.batch, self.seed = features, batch, seed
        self.lengths = np.array([feature.tokens for feature in features])
        self.steps_per_epoch = -(-len(features) // batch.sequences)
        self.tokens_per_epoch = int(self.lengths.sum())

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[TaskBatch]:
        """The micro-batches that `rank` computes in `step` (from 0), alike in length."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = permutation(self.seed, Purpose.SAMPLE_ORDER, epoch, len(self.features))
        chosen = np.array_split(order, self.steps_per_epoch)[within]
        parts = micro_batches(chosen, self.lengths, self._parts(len(chosen), world_size))
        return [collate(self.features, part, self.seed, step) for part in parts[rank::world_size]]

    def _parts(self, examples: int, world_size: int) -> int:
        """Micro-batches of a step: as many for every rank, and none without an example."""
        if examples < world_size:
            raise InputError(
                f"a step holds {examples} examples, too few for {world_size} ranks: raise "
                "batch.sequences, give more examples, or use fewer ranks"
            )
        return min(self.batch.micro_batches(world_size), examples - examples % world_size)


def micro_batches(chosen: np.ndarray, lengths: np.ndarray, parts: int) -> list[np.ndarray]:
    """The chosen features in `parts` groups of about equal tokens, alike in length."""
    by_length = chosen[np.argsort(lengths[chosen], kind="stable")]
    bounds = equal_parts(lengths[by_length], parts)
    return [by_length[a:b] for a, b in zip(bounds, bounds[1:])]


def evaluation_batches(
    features: Sequence[Feature], sequences: int, rank: int = 0, world_size: int = 1
) -> Iterator[TaskBatch]:
    """`rank`'s share of all features, `sequences` at a time, alike in length."""
    lengths = np.array([feature.tokens for feature in features])
    order = np.argsort(lengths, kind="stable")
    for start in range(rank * sequences, len(order), world_size * sequences):
        yield collate(features, order[start : start + sequences], seed=0, step=0)


def collate(features: Sequence[Feature], chosen: np.ndarray, seed: int, step: int) -> TaskBatch:
    """The chosen features end to end; `step` keys the dropout of each of their sequences."""
    picked = [features[number] for number in chosen]
    sequences = [ids for feature in picked for ids in feature.ids]
    numbers = [
        MAX_OPTIONS * int(number) + option
        for number, feature in zip(chosen, picked)
        for option in range(len(feature.ids))
    ]
    lengths = np.array([len(ids) for ids in sequences])
    boundaries = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.concatenate(sequences)
    none = torch.zeros(0, dtype=torch.int64)
    inputs = MicroBatch(
        tokens_T=torch.from_numpy(tokens),
        positions_T=torch.from_numpy(np.arange(len(tokens)) - np.repeat(boundaries[:-1], lengths)),
        segments_T=torch.from_numpy(np.concatenate([s for f in picked for s in f.segments])),
        boundaries=torch.from_numpy(boundaries.astype(np.int32)),
        longest=int(lengths.max()),
        predicted_M=none,
        labels_M=none,
        next_sentence_B=none,
        sample_ids=tuple(numbers),
        dropout_keys=tuple(keys_64(seed, Purpose.DROPOUT, step, np.array(numbers)).tolist()),
    )
    targets = torch.from_numpy(np.concatenate([feature.targets for feature in picked]))
    return TaskBatch(inputs, targets, tuple(chosen.tolist()))
