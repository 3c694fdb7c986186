"""How gradients leave in buckets, with a process group of one that notes what is sent."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from configs.collective_schema import CollectiveConfig
from pretrain.ranks.reducer import Reducer

RANKS, TINY = 2, 1e-6


class Work:
    """A sum over ranks that are all alike, which is there once somebody waits for it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def wait(self) -> None:
        self.tensor.mul_(RANKS)


@pytest.fixture
def sent(monkeypatch) -> list[str | int]:
    """Sizes of reductions, in order; tests note their own events between."""
    events: list[str | int] = []

    def all_reduce(tensor: Tensor, async_op: bool) -> Work:
        assert async_op, "the backward pass would wait"
        events.append(tensor.numel())
        return Work(tensor)

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    monkeypatch.setattr(dist, "get_world_size", lambda: RANKS)
    return events


class Chain(nn.Module):
    """Layers of different sizes, the first of them the largest, and a head that may be unused."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))
        self.head = nn.ParameterList([torch.ones(5)])

    def forward(self, uses_head: bool = True) -> Tensor:
        hidden = torch.ones(1, 4)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden.sum() * (self.head[0].sum() if uses_head else 1.0)


def chain(**choices) -> tuple[Chain, Reducer]:
    """A new one, each of whose parameters has a bucket of its own."""
    torch.manual_seed(0)
    model = Chain()
    return model, Reducer(model.parameters(), CollectiveConfig(bucket_megabytes=TINY, **choices))


def note_gradients(model: Chain, events: list) -> None:
    """Say before any reduction when the gradient of a layer has come."""
    for number, layer in enumerate(model.layers):
        layer.weight.register_hook(lambda gradient, number=number: events.append(f"layer {number}"))


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_a_bucket_leaves_while_gradients_are_made(sent):
    model, reducer = chain()
    note_gradients(model, sent)
    with reducer.reducing():
        model().backward()
    assert sent == [8, "layer 2", 16, "layer 1", 16, "layer 0", 16]


def test_without_overlap_all_leave_at_the_end(sent):
    model, reducer = chain(overlap=False)
    note_gradients(model, sent)
    with reducer.reducing():
        model().backward()
    assert sent == ["layer 2", "layer 1", "layer 0", 8, 16, 16, 16]


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("compression", ["none", "bf16"])
def test_gradients_are_accumulated_and_averaged(sent, overlap, compression):
    model, reducer = chain(overlap=overlap, compression=compression)
    model().backward()
    assert not sent, "a micro-batch that is not the last sends nothing"
    expected = [2 * gradient for gradient in gradients(model)]
    with reducer.reducing():
        model().backward()
    for found, wanted in zip(gradients(model), expected):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=0 if compression == "none" else 0.01, atol=0)


def test_an_unused_parameter_adds_zeros_and_keeps_the_order(sent):
    model, reducer = chain()
    note_gradients(model, sent)
    with reducer.reducing():
        model(uses_head=False).backward()
    # The head's bucket is the first, on every rank: without a gradient, all wait.
    assert sent == ["layer 2", "layer 1", "layer 0", 8, 16, 16, 16]
    assert torch.equal(model.head[0].grad, torch.zeros(5))


def test_the_next_step_is_as_the_first(sent):
    model, reducer = chain()
    for _ in range(2):
        model.zero_grad()
        with reducer.reducing():
            model().backward()
    assert sent == 2 * [8, 16, 16, 16]


def test_a_gradient_after_its_bucket_is_an_error(sent):
    model, reducer = chain()
    with pytest.raises(AssertionError, match="after its bucket"), reducer.reducing():
        model().backward()
        model().backward()


def test_frozen_parameters_do_not_travel(sent):
    model = Chain()
    model.layers[0].weight.requires_grad_(False)
    reducer = Reducer(model.parameters(), CollectiveConfig())
    with reducer.reducing():
        model().backward()
    assert sent == [8 + 16 + 16] and model.layers[0].weight.grad is None


def test_gradients_begin_where_kernels_read_whole_lines(sent):
    model = Chain()
    reducer = Reducer(model.parameters(), CollectiveConfig())
    with reducer.reducing():
        model().backward()
    assert len(reducer.buckets) == 1
    assert all(p.grad.data_ptr() % 16 == 0 for p in model.parameters())


def test_a_model_is_freed_with_its_hooks(sent):
    model, reducer = chain()
    with reducer.reducing():
        model().backward()
    weight, hooked = weakref.ref(model.layers[0].weight), weakref.ref(reducer)
    del model, reducer
    gc.collect()
    assert weight() is None and hooked() is None
