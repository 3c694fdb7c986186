"""A micro-batch's way to a device: in one buffer, and bit for bit what it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain import batch as module
from pretrain.batch import MicroBatch, flattened, unflattened
from pretrain.model.pretraining import PretrainingModel
from tests.unit.pretrain.model.examples import random_batch, random_model, tiny

META = torch.device("meta")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=9)
FLOATS = st.floats(width=32)


@pytest.fixture
def pageable(monkeypatch):
    """Memory as there is without a GPU."""
    monkeypatch.setattr(module, "flattened", lambda *own, pin: flattened(*own, pin=False))


def rebuilt(batch: MicroBatch) -> MicroBatch:
    """As `to` makes it, on the host."""
    buffer = flattened(batch.tensors, batch.layout, pin=False)
    return replace(batch, **unflattened(buffer, batch.layout))


@given(LENGTHS, st.floats(0, 1), st.booleans())
def test_views_hold_what_the_tensors_held(lengths, share, has_segments):
    batch = random_batch(lengths, share)
    batch = batch if has_segments else replace(batch, segments_T=None)
    found = rebuilt(batch).tensors
    assert list(found) == list(batch.tensors) and ("segments_T" in found) == has_segments
    for name, view in found.items():
        assert view.dtype == (torch.int64 if name in MicroBatch.WIDE else torch.int32)
        assert torch.equal(view, batch.tensors[name]), name


@given(st.lists(FLOATS), st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_numbers_of_both_kinds_keep_every_bit(floats, integers):
    tensors = {"a": torch.tensor(floats), "b": torch.tensor(integers, dtype=torch.int64)}
    layout = {"b": (torch.int32, len(integers)), "a": (torch.float32, len(floats))}
    views = unflattened(flattened(tensors, layout, pin=False), layout)
    assert torch.equal(views["a"].view(torch.int32), tensors["a"].view(torch.int32))
    assert views["b"].tolist() == integers


@given(LENGTHS)
def test_every_view_begins_where_compiled_kernels_want_it(lengths):
    views = rebuilt(random_batch(lengths)).tensors.values()
    assert all(view.data_ptr() % 16 == 0 for view in views)
    assert len({view.untyped_storage().data_ptr() for view in views}) == 1


def test_nothing_is_copied_to_where_it_is():
    batch = random_batch()
    assert batch.to(torch.device("cpu")) is batch.ready_for(torch.device("cpu")) is batch
    assert "pinned" not in vars(batch)


@pytest.mark.usefixtures("pageable")
def test_one_buffer_goes_and_the_rest_stays():
    batch = random_batch()
    assert batch.ready_for(META) is batch
    buffer = vars(batch)["pinned"]
    moved = batch.to(META)
    assert batch.pinned is buffer and moved.to(META) is moved
    assert {view.device for view in moved.tensors.values()} == {META}
    assert {name: len(view) for name, view in moved.tensors.items()} == {
        name: len(tensor) for name, tensor in batch.tensors.items()
    }
    assert (moved.longest, moved.sample_ids) == (batch.longest, batch.sample_ids)


@pytest.mark.usefixtures("pageable")
def test_a_changed_batch_has_a_buffer_of_its_own():
    batch = random_batch().ready_for(META)
    other = replace(batch, tokens_T=batch.tokens_T + 1)
    views = unflattened(other.pinned, other.layout)
    assert torch.equal(views["tokens_T"], batch.tokens_T + 1)


def loss_and_gradients(model: PretrainingModel, batch: MicroBatch) -> list[torch.Tensor]:
    sums = model(batch)
    loss = sums.mlm_loss_sum + sums.nsp_loss_sum
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [*sums, *gradients]


MODERN = {"position": "rope", "segment_types": 0, "attention_window": 4, "global_every": 2}
SHAPES = {
    "BERT": (tiny(architecture="bert", segment_types=2), True),
    "RoBERTa": (tiny(attention="sdpa"), False),
    "ModernBERT": (tiny(**MODERN), False),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_computes_the_same_from_32_bits(shape):
    model, batch = random_model(*SHAPES[shape]), random_batch()
    sources_M = torch.arange(len(batch.labels_M)) % 2
    batch = replace(batch, sources_M=sources_M, source_count=2)
    if shape == "ModernBERT":
        documents = torch.tensor([0, 3, 7, 19, 20, 29], dtype=torch.int32)
        batch = replace(batch, documents=documents, longest_document=12)
    found = map(partial(loss_and_gradients, model), (batch, rebuilt(batch)))
    assert all(torch.equal(one, other) for one, other in zip(*found))


def test_no_segments_are_all_of_the_first():
    model, batch = random_model(*SHAPES["BERT"]), random_batch()
    zeros = replace(batch, segments_T=torch.zeros_like(batch.tokens_T))
    none = replace(batch, segments_T=None)
    found = map(partial(loss_and_gradients, model), (zeros, none))
    assert all(torch.equal(one, other) for one, other in zip(*found))
