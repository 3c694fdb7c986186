"""A step's examples are a function of the step; ranks and micro-batches only share them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.schema import ResolvedBatchConfig
from finetune.model.task_model import TaskBatches, collate, evaluation_batches, micro_batches
from finetune.tasks.task import Feature
from tests.helpers import flatten


def random_features(number: int, options: int = 1, seed: int = 0) -> list[Feature]:
    """Features of random lengths whose tokens name them."""
    rng = np.random.default_rng(seed)
    features = []
    for place in range(number):
        lengths = rng.integers(1, 30, options)
        ids = tuple(np.full(n, place) for n in lengths)
        segments = tuple((np.arange(n) > n / 2).astype(np.int64) for n in lengths)
        features.append(Feature(place, ids, segments, np.array([place])))
    return features


FEATURES = random_features(50)


def seen(batches: TaskBatches, step: int, world: int = 1) -> list[int]:
    """The features of a step, all ranks together."""
    return [
        number
        for rank in range(world)
        for batch in batches.step(step, rank, world)
        for number in batch.features
    ]


def make(sequences: int = 8, micro: int = 4, seed: int = 0, features=FEATURES) -> TaskBatches:
    return TaskBatches(
        features, ResolvedBatchConfig(sequences=sequences, micro_sequences=micro), seed
    )


@given(number=st.integers(10, 60), sequences=st.integers(1, 20), epoch=st.integers(0, 3))
def test_an_epoch_sees_every_example_once_in_equal_steps(number, sequences, epoch):
    batches = make(sequences, micro=20, features=random_features(number))
    steps = batches.steps_per_epoch
    parts = [seen(batches, epoch * steps + within) for within in range(steps)]
    sizes = [len(part) for part in parts]
    assert sorted(flatten(parts)) == list(range(number))
    assert steps == -(-number // sequences)
    assert max(sizes) <= sequences and max(sizes) - min(sizes) <= 1


def test_epochs_seeds_and_steps_differ():
    batches = make(sequences=50, micro=50)
    orders = [seen(b, step) for b in (batches, make(50, 50, seed=1)) for step in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    firsts = [
        tuple(sorted(seen(make(seed=seed), step))) for seed in (0, 1) for step in (0, 1, 7, 8)
    ]
    assert len(set(firsts)) == 8


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("micro", [1, 2, 8])
def test_ranks_share_the_examples_of_the_step(world, micro):
    batches, alone = make(micro=micro), make(micro=8)
    for step in range(2 * batches.steps_per_epoch):
        assert sorted(seen(batches, step, world)) == sorted(seen(alone, step))
        shares = [len(batches.step(step, rank, world)) for rank in range(world)]
        assert len(set(shares)) == 1


def test_dropout_keys_belong_to_example_and_step_not_to_rank():
    def keys(step: int, world: int, micro: int = 4, seed: int = 0) -> dict[int, int]:
        parts = [make(8, micro, seed).step(step, rank, world) for rank in range(world)]
        batches = [batch for part in parts for batch in part]
        return {n: k for b in batches for n, k in zip(b.features, b.dropout_keys)}

    assert keys(3, 1) == keys(3, 2) == keys(3, 4, micro=1)
    epoch = make().steps_per_epoch
    both = keys(0, 1).items() | {
        p for step in range(epoch, 2 * epoch) for p in keys(step, 1).items()
    }
    assert len({key for _, key in both}) == 8 + 50
    assert not set(keys(0, 1).values()) & set(keys(0, 1, seed=1).values())


def test_micro_batches_are_alike_in_length():
    lengths = np.random.default_rng(0).integers(1, 100, 64)
    chosen = np.arange(64)[::-1]
    parts = micro_batches(chosen, lengths, 8)
    assert sorted(np.concatenate(parts).tolist()) == list(range(64))
    bounds = [(lengths[part].min(), lengths[part].max()) for part in parts]
    assert all(a[1] <= b[0] for a, b in zip(bounds, bounds[1:]))
    tokens = [lengths[part].sum() for part in parts]
    assert max(tokens) - min(tokens) <= 2 * lengths.max()


def test_fewer_examples_than_ranks_are_refused():
    batches = make(sequences=4, micro=1, features=FEATURES[:3])
    assert sorted(seen(batches, 0, world=3)) == [0, 1, 2]
    with pytest.raises(InputError, match=r"a step holds 3 examples, too few for 4 ranks"):
        batches.step(0, rank=0, world_size=4)


def test_a_step_that_holds_less_needs_fewer_micro_batches():
    batches = make(sequences=8, micro=1, features=FEATURES[:9])
    assert [len(batches.step(step)) for step in range(2)] == [5, 4]
    assert [len(batches.step(step, rank=1, world_size=3)) for step in range(2)] == [1, 1]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4))
def test_evaluation_sees_every_feature_once_on_some_rank(number, sequences, world):
    features = random_features(number)
    batches = [
        batch
        for rank in range(world)
        for batch in evaluation_batches(features, sequences, rank, world)
    ]
    assert sorted(n for batch in batches for n in batch.features) == list(range(number))
    assert all(len(batch.features) <= sequences for batch in batches)
    spans = sorted(
        (min(lengths), max(lengths))
        for batch in batches
        for lengths in [[features[n].tokens for n in batch.features]]
    )
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))


def test_segments_are_there_where_they_differ():
    pair, alone = FEATURES[1], replace(FEATURES[0], segments=(np.zeros(1, np.int64),))
    assert collate([alone, pair], np.array([0]), 0, 0).segments_T is None
    batch = collate([alone, pair], np.array([0, 1]), 0, 0)
    assert np.array_equal(batch.segments_T, [0, *pair.segments[0]])


def test_features_lie_end_to_end():
    features = random_features(6, options=3)
    batch = collate(features, np.array([4, 1]), seed=0, step=7)
    sequences = [*features[4].ids, *features[1].ids]
    bounds = batch.boundaries.tolist()
    assert batch.boundaries.dtype == torch.int32 and bounds[0] == 0
    assert np.diff(bounds).tolist() == [len(ids) for ids in sequences]
    parts = batch.tokens_T.split(np.diff(bounds).tolist())
    assert all(np.array_equal(part, ids) for part, ids in zip(parts, sequences))
    segments = np.concatenate([*features[4].segments, *features[1].segments])
    assert np.array_equal(batch.segments_T, segments)
    positions = np.concatenate([np.arange(len(ids)) for ids in sequences])
    assert np.array_equal(batch.positions_T, positions)
    assert batch.longest == max(map(len, sequences)) and batch.features == (4, 1)
    assert batch.targets.tolist() == [4, 1]
    assert len(set(batch.dropout_keys)) == len(set(batch.sample_ids)) == 6
