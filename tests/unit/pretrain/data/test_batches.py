"""Law 2: a step decides its global batch; ranks only share the work."""

from __future__ import annotations

import threading
from itertools import islice

import numpy as np
import pytest
import torch

from configs.errors import InputError
from configs.schema import BatchConfig, EvaluationConfig, PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.batches import Batches, equal_parts, heldout_batches
from pretrain.data.collate import Collator
from tests.helpers import flatten, open_store, random_documents, simple_vocabulary

VOCABULARY = simple_vocabulary()
FORMATS = ("full-sentences", "doc-sentences", "segment-pair", "sentence-pair")
MAX_LENGTH, SEQUENCES = 48, 16


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    documents = random_documents(3, 600, tokens=20)
    return open_store(tmp_path_factory.mktemp("batches") / "store", documents)


@pytest.fixture
def batches(store):
    """A function from the configuration's changes to `Batches`."""

    def make(**changes) -> Batches:
        fields = {
            "max_length": MAX_LENGTH,
            "batch": BatchConfig(sequences=SEQUENCES, micro_sequences=4),
        }
        config = PretrainConfig(**fields | changes).resolved()
        return Batches(Collator(store, config, VOCABULARY))

    return make


def tokens_of(micro_batches: list[MicroBatch]) -> int:
    return sum(len(batch.tokens_T) for batch in micro_batches)


def samples_of(micro_batches: list[MicroBatch]) -> list[int]:
    return sorted(flatten([batch.sample_ids for batch in micro_batches]))


def content(micro_batches: list[MicroBatch]) -> dict[int, tuple]:
    """What the model sees of each sample, wherever it lies."""
    return {
        number: (batch.tokens_T[start:end].tolist(), key)
        for batch in micro_batches
        for number, key, start, end in zip(
            batch.sample_ids, batch.dropout_keys, batch.boundaries, batch.boundaries[1:]
        )
    }


def assert_equal(ours: list[MicroBatch], theirs: list[MicroBatch]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.sample_ids == b.sample_ids
        assert a.dropout_keys == b.dropout_keys
        assert torch.equal(a.tokens_T, b.tokens_T)
        assert torch.equal(a.labels_M, b.labels_M)


@pytest.mark.parametrize("input_format", FORMATS)
def test_an_epoch_sees_every_sample_once(batches, input_format):
    data = batches(input_format=input_format, sample_epochs=None)
    for epoch in (0, 1):
        first = epoch * data.steps_per_epoch
        steps = [data.step(first + step) for step in range(data.steps_per_epoch)]
        assert samples_of(flatten(steps)) == list(range(len(data.collate.index(epoch))))


def test_epochs_are_in_another_order(batches):
    data = batches()
    assert samples_of(data.step(0)) != samples_of(data.step(data.steps_per_epoch))


@pytest.mark.parametrize("input_format", FORMATS)
def test_steps_hold_equally_many_tokens(batches, input_format):
    data = batches(input_format=input_format)
    total = data.collate.index(0).tokens
    assert data.steps_per_epoch == -(-total // (SEQUENCES * MAX_LENGTH))
    for step in range(data.steps_per_epoch):
        tokens = tokens_of(data.step(step))
        assert abs(tokens - total / data.steps_per_epoch) <= MAX_LENGTH
        assert tokens <= (SEQUENCES + 1) * MAX_LENGTH


def test_formats_with_short_samples_see_as_much_text_per_step(batches):
    means = {
        name: np.mean([tokens_of(batches(input_format=name).step(step)) for step in range(20)])
        for name in FORMATS
    }
    for mean in means.values():
        assert mean == pytest.approx(SEQUENCES * MAX_LENGTH, rel=0.05)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_step(batches, world_size):
    data = batches()
    for step in (0, 7):
        shares = [data.step(step, rank, world_size) for rank in range(world_size)]
        assert len({len(share) for share in shares}) == 1
        assert samples_of(flatten(shares)) == samples_of(data.step(step))
        assert content(flatten(shares)) == content(data.step(step))


@pytest.mark.parametrize("micro_sequences", [1, 3, 16, 64])
def test_micro_batches_do_not_change_the_step(batches, micro_sequences):
    batch = BatchConfig(sequences=SEQUENCES, micro_sequences=micro_sequences)
    micro_batches = batches(batch=batch).step(3)
    assert len(micro_batches) == -(-SEQUENCES // micro_sequences)
    assert content(micro_batches) == content(batches().step(3))
    for micro_batch in micro_batches:
        assert len(micro_batch.tokens_T) <= (micro_sequences + 2) * MAX_LENGTH


def test_a_far_step_needs_no_others(batches):
    data = batches()
    *_, walked = (data.step(step) for step in range(301))
    fresh, calls = batches(), []
    collate = fresh.collate

    def counted(*arguments) -> MicroBatch:
        calls.append(arguments)
        return collate(*arguments)

    counted.index, fresh.collate = collate.index, counted
    assert_equal(fresh.step(300), walked)
    assert len(calls) == len(walked)


@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_prefetched_steps_are_the_same(batches, rank, world_size):
    data = batches()
    first, last = data.steps_per_epoch - 3, data.steps_per_epoch + 3
    found = list(data.prefetched(first, last, rank, world_size))
    assert len(found) == 6
    for step, micro_batches in enumerate(found, first):
        assert_equal(micro_batches, data.step(step, rank, world_size))


def test_prefetched_micro_batches_are_ready_for_the_device(batches, monkeypatch):
    threads = []
    monkeypatch.setattr(
        MicroBatch, "pinned", property(lambda _: threads.append(threading.current_thread()))
    )
    found = flatten(batches().prefetched(0, 2, device=torch.device("cuda")))
    assert len(threads) == len(found) > 2 and threading.current_thread() not in threads


def test_prefetching_without_an_end_goes_on(batches):
    data = batches()
    steps = data.prefetched(2, None)
    found = list(islice(steps, 5))
    steps.close()
    assert_equal(found[-1], data.step(6))


def test_no_step_beyond_the_last_is_made(batches, monkeypatch):
    data, made = batches(), []
    monkeypatch.setattr(data, "step", lambda step, *_: made.append(step) or [])
    assert list(data.prefetched(3, 6)) == [[]] * 3
    assert made == [3, 4, 5]


def test_nothing_is_left_to_prefetch(batches):
    assert list(batches().prefetched(5, 5)) == []


def test_a_corpus_below_one_batch_is_refused(batches):
    with pytest.raises(InputError, match=r"less than one batch of 480,000 .*batch\.sequences"):
        batches(batch=BatchConfig(sequences=10_000))


LONG = dict(max_length=480, batch=BatchConfig(sequences=8, micro_sequences=1))
"""samples are nearly full, and their number is no multiple of 8"""


def test_a_step_with_fewer_samples_than_micro_batches_has_fewer_of_them(batches):
    data, counts = batches(**LONG), set()
    for step in range(data.steps_per_epoch):
        alone = data.step(step)
        counts.add(len(alone))
        assert len(alone) == len(samples_of(alone))
        shares = [data.step(step, rank, 4) for rank in range(4)]
        assert [len(share) for share in shares] == [len(alone) // 4] * 4
        assert content(flatten(shares)) == content(alone)
    assert counts == {7, 8}


def test_a_step_with_fewer_samples_than_ranks_is_refused_before_it_comes(batches):
    data = batches(**LONG)
    data.require_samples(7, None)
    counts = [len(samples_of(data.step(step))) for step in range(data.steps_per_epoch)]
    first = counts.index(7)
    data.require_samples(8, first)
    told = (
        r"a step holds 7 samples of up to 480 tokens, too few for 8 ranks: raise "
        r"batch\.sequences=8, lower max_length=480, or use fewer ranks"
    )
    with pytest.raises(InputError, match=told):
        data.require_samples(8, first + 1)
    with pytest.raises(InputError, match=told):
        data.step(first, rank=0, world_size=8)


@pytest.mark.parametrize("world_size", [1, 2, 3, 50])
def test_heldout_batches_cover_the_same_samples_for_any_world_size(batches, world_size):
    evaluation = EvaluationConfig(sequences=20)
    collate = batches(evaluation=evaluation).collate
    shares = [heldout_batches(collate, rank, world_size) for rank in range(world_size)]
    alone = heldout_batches(collate)
    assert content(flatten(shares)) == content(alone)
    assert 20 * MAX_LENGTH <= tokens_of(alone) < 21 * MAX_LENGTH
    assert len(samples_of(alone)) == len(set(samples_of(alone)))


def test_a_small_heldout_split_is_used_whole(batches):
    collate = batches(evaluation=EvaluationConfig(sequences=10**6)).collate
    assert samples_of(heldout_batches(collate)) == list(range(len(collate.index(0))))


def test_a_step_is_the_same_however_many_samples_are_looked_at_together(batches, monkeypatch):
    whole = batches()
    steps = [samples_of(whole.step(step)) for step in (0, 5, whole.steps_per_epoch + 3)]
    monkeypatch.setattr("pretrain.data.batches.READ_SAMPLES", 7)
    parts = batches()
    assert steps == [samples_of(parts.step(step)) for step in (0, 5, whole.steps_per_epoch + 3)]


def test_equal_parts():
    rng = np.random.default_rng(0)
    for _ in range(300):
        lengths = rng.integers(1, rng.integers(2, 100), rng.integers(1, 50))
        parts = int(rng.integers(1, len(lengths) + 1))
        bounds = equal_parts(lengths, parts)
        assert bounds[0] == 0 and bounds[-1] == len(lengths)
        assert (np.diff(bounds) > 0).all()
        if parts * 4 * lengths.max() < lengths.sum():
            sums = np.add.reduceat(lengths, bounds[:-1])
            assert np.abs(sums - lengths.sum() / parts).max() <= lengths.max()
