"""Samples to micro-batches: framing, segments, positions, and which masks an epoch sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.schema import ModelConfig, PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.collate import Collator
from tests.helpers import open_store, random_documents, simple_vocabulary
from tests.unit.pretrain.data.slow_formats import slow_samples

DOCUMENTS = random_documents(2, 60, tokens=20)
VOCABULARY = simple_vocabulary()
TWO_TYPES = ModelConfig(architecture="bert", segment_types=2)
FORMATS = ("full-sentences", "doc-sentences", "segment-pair", "sentence-pair")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return open_store(tmp_path_factory.mktemp("collate") / "store", DOCUMENTS, 1000)


@pytest.fixture
def collator(store):
    """A function from the configuration's changes to a collator."""

    def make(**changes) -> Collator:
        return Collator(store, PretrainConfig(**changes), VOCABULARY)

    return make


def unmasked(batch: MicroBatch) -> list[list[int]]:
    """The sequences with their labels put back."""
    tokens = batch.tokens_T.clone()
    tokens[batch.predicted_M] = batch.labels_M
    return [part.tolist() for part in tokens.tensor_split(batch.boundaries[1:-1].long())]


def equal(a: MicroBatch, b: MicroBatch) -> bool:
    return torch.equal(a.tokens_T, b.tokens_T) and torch.equal(a.predicted_M, b.predicted_M)


@pytest.mark.parametrize("input_format", FORMATS)
def test_framing(collator, input_format):
    shape = {"model": TWO_TYPES, "max_length": 48, "sample_epochs": None}
    collate = collator(input_format=input_format, **shape)
    expected = slow_samples(DOCUMENTS, collate.config, cut=5)
    numbers = np.random.default_rng(0).permutation(len(expected))[:30]
    batch = collate(numbers, epoch=5, step=9)
    cls, sep = VOCABULARY.cls_id, VOCABULARY.sep_id
    for row, (number, tokens) in enumerate(zip(numbers, unmasked(batch))):
        spans, label = expected[number]
        assert tokens == [cls] + [token for span in spans for token in [*span, sep]]
        part = slice(batch.boundaries[row], batch.boundaries[row + 1])
        if label >= 0:
            pair = [0] * (len(spans[0]) + 2) + [1] * (len(tokens) - len(spans[0]) - 2)
            assert batch.segments_T[part].tolist() == pair
        else:
            assert batch.segments_T is None
        assert batch.positions_T[part].tolist() == list(range(len(tokens)))
        assert batch.next_sentence_B[row] == label
    assert batch.sample_ids == tuple(numbers.tolist())
    assert batch.longest == max(map(len, unmasked(batch)))


@pytest.mark.parametrize("types", [0, 1])
def test_a_model_of_one_type_gets_no_segments(collator, types):
    model = replace(TWO_TYPES, segment_types=types)
    batch = collator(input_format="segment-pair", model=model)(np.arange(4), 0, 0)
    assert batch.segments_T is None and batch.next_sentence_B.min() >= 0


def test_types_are_those_the_model_takes(collator):
    batch = collator(input_format="segment-pair", model=TWO_TYPES)(np.arange(4), 0, 0)
    assert batch.boundaries.dtype == torch.int32
    for name in ("tokens_T", "positions_T", "segments_T", "predicted_M", "labels_M"):
        assert getattr(batch, name).dtype == torch.int64
    assert batch.next_sentence_B.dtype == torch.int64


def test_frames_are_never_predicted(collator):
    for input_format in FORMATS:
        collate = collator(input_format=input_format)
        batch = collate(np.arange(len(collate.index(0))), 0, 0)
        assert batch.labels_M.max() < VOCABULARY.cls_id
        assert len(batch.labels_M) >= len(batch.sample_ids)


def test_a_sample_does_not_depend_on_its_neighbours(collator):
    collate = collator(max_length=48)
    numbers = np.asarray([3, 11, 0, 7])
    together = collate(numbers, 2, 5)
    for row, number in enumerate(numbers):
        alone = collate(np.asarray([number]), 2, 5)
        part = slice(together.boundaries[row], together.boundaries[row + 1])
        assert torch.equal(together.tokens_T[part], alone.tokens_T)
        assert together.dropout_keys[row] == alone.dropout_keys[0]


def test_dropout_keys_differ_by_step_and_sample(collator):
    collate = collator()
    keys = [key for step in range(3) for key in collate(np.arange(5), 0, step).dropout_keys]
    assert len(set(keys)) == 15


def test_static_masking_is_dynamic_masking_with_the_epoch_modulo(collator):
    numbers = np.arange(15)
    dynamic, static = collator(), collator(mask_epochs=10)
    assert equal(static(numbers, 3, 0), static(numbers, 13, 0))
    assert not equal(static(numbers, 3, 0), static(numbers, 4, 0))
    assert not equal(dynamic(numbers, 3, 0), dynamic(numbers, 13, 0))
    for epoch in (3, 13):
        assert equal(static(numbers, epoch, 0), dynamic(numbers, epoch % 10, 0))
        assert unmasked(static(numbers, epoch, 0)) == unmasked(dynamic(numbers, epoch, 0))


def test_ten_cuts_under_ten_masks_come_back_after_ten_epochs(collator):
    numbers = np.arange(10)
    collate = collator(input_format="segment-pair", mask_epochs=10, sample_epochs=10)
    third, fourth, thirteenth = (collate(numbers, epoch, 0) for epoch in (3, 4, 13))
    assert equal(third, thirteenth)
    assert unmasked(third) != unmasked(fourth)


def test_sample_epochs(collator):
    lengths = {
        cuts: [collator(sample_epochs=cuts).index(epoch).all.lengths.tolist() for epoch in range(4)]
        for cuts in (1, 2, None)
    }
    assert lengths[1][0] == lengths[1][1] == lengths[1][3]
    assert lengths[2][0] == lengths[2][2] != lengths[2][1] == lengths[2][3]
    assert lengths[None][0] != lengths[None][2]


def test_the_seed_decides(store):
    config = PretrainConfig()
    one, same, other = (
        Collator(store, replace(config, seed=seed), VOCABULARY)(np.arange(5), 0, 0)
        for seed in (1, 1, 2)
    )
    assert equal(one, same) and not equal(one, other)


def test_documents_hold_their_separator_and_the_first_holds_the_class_token(collator):
    collate = collator(document_attention=True, max_length=48)
    expected = slow_samples(DOCUMENTS, collate.config, cut=0)
    numbers = np.random.default_rng(0).permutation(len(expected))[:30]
    batch = collate(numbers, epoch=0, step=0)
    spans = [spans for spans, _ in (expected[number] for number in numbers)]
    lengths = [len(span) + 1 + (i == 0) for sample in spans for i, span in enumerate(sample)]
    assert any(len(sample) > 2 for sample in spans)
    assert batch.documents.diff().tolist() == lengths
    assert batch.documents.dtype == torch.int32
    assert batch.longest_document == max(lengths)
    without = collator(max_length=48)(numbers, epoch=0, step=0)
    assert equal(batch, without)
    assert torch.equal(batch.positions_T, without.positions_T)
    assert batch.dropout_keys == without.dropout_keys


@pytest.mark.parametrize(
    "choices", [{}, {"document_attention": True, "input_format": "doc-sentences"}]
)
def test_sequences_of_one_document_need_no_boundaries(collator, choices):
    assert collator(**choices)(np.arange(20), epoch=0, step=0).documents is None
