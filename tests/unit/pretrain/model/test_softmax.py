"""Softmax of whole rows, as a GPU takes them: in pieces, compiled, and against float64."""

from __future__ import annotations

import shutil
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from launch.selfchecks.batches import zipf
from pretrain.model import loss, softmax
from pretrain.model.loss import DecodedCrossEntropy, rows_for
from pretrain.model.softmax import (
    Softmax,
    bytes_at_a_time,
    compiled_softmax,
    softmax_,
    softmax_in_pieces,
)

ROWS = [5, 2, 24, 7, 32]
NAMES = ("loss", "hidden states", "embeddings", "bias")


@pytest.fixture
def whole_rows(monkeypatch):
    """The way of a GPU."""
    monkeypatch.setattr(loss, "takes_parts", lambda _: False)
    monkeypatch.setattr(loss, "rows_for", lambda _, words: rows_for("cuda", words))


def logits_of(rows: int, words: int = 40, dtype: torch.dtype = torch.float32) -> Tensor:
    """The last is no word."""
    logits = torch.randn(rows, words, generator=torch.Generator().manual_seed(rows))
    logits[:, -1] = -torch.inf
    return logits.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_become_probabilities(dtype):
    logits, labels = logits_of(6, 40, dtype), torch.tensor([[0], [38], [5], [5], [7], [1]])
    logits[0, :2] = 9.0  # of equal ones the first is predicted
    logits[5, :2] = 9.0
    exact = logits.double().log_softmax(1)
    losses, correct = softmax_(logits, labels)
    assert losses.dtype == torch.float32 and logits.dtype == dtype
    torch.testing.assert_close(losses.double(), -exact.gather(1, labels), rtol=1e-6, atol=1e-6)
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(logits.double(), exact.exp(), rtol=rounding, atol=1e-7)
    assert correct[0] and not correct[5]


@pytest.mark.parametrize("rows", [0, 1, 5, 6, 7])
def test_pieces_are_those_of_the_whole(rows, monkeypatch):
    monkeypatch.setattr(softmax, "ELEMENTS_CUDA", 130)  # three rows
    labels = torch.arange(rows)[:, None]
    whole, pieces = logits_of(rows), logits_of(rows)
    for one, other in zip(softmax_(whole, labels), softmax_in_pieces(pieces, labels)):
        assert torch.equal(one, other)
    assert torch.equal(whole, pieces)


def results(way: Softmax, inputs: list[Tensor], labels: Tensor) -> list[Tensor]:
    """The loss and all gradients."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    found, _ = DecodedCrossEntropy.apply(*leaves, labels, None, way)
    return [found.detach(), *torch.autograd.grad(found, leaves)]


def test_one_graph_does_for_all_numbers_of_rows(whole_rows):
    graphs = []

    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = compiled_softmax(counted)
    for rows in ROWS:
        inputs = [torch.randn(shape) for shape in ((rows, 4), (200, 4), (200,))]
        labels = torch.randint(0, 200, (rows,))
        for one, other in zip(results(softmax_, inputs, labels), results(compiled, inputs, labels)):
            torch.testing.assert_close(one, other)
    assert len(graphs) == 1


def plain(inputs: list[Tensor], labels: Tensor) -> list[Tensor]:
    """By torch's own functions."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    found = F.cross_entropy(F.linear(*leaves), labels, reduction="sum")
    return [found.detach(), *torch.autograd.grad(found, leaves)]


@pytest.mark.slow
@pytest.mark.parametrize("words", [8_002, 50_265])
@pytest.mark.parametrize("compiles", [False, True], ids=["eager", "compiled"])
def test_bfloat16_errs_no_more_than_plain_bfloat16(words, compiles, whole_rows):
    """Against float64; labels are as frequent as words, and half of them are predicted."""
    if compiles and shutil.which("g++") is None:
        pytest.skip("torch's compiler needs one of C++ here")
    torch.manual_seed(0)
    labels, word = zipf(192, words, seed=0), torch.randn(words, 64) / 8
    inputs = [torch.randn(192, 64) + 4.5 * word[labels], word, 0.1 * torch.randn(words)]
    exact = plain([tensor.double() for tensor in inputs], labels)
    with torch.autocast("cpu", torch.bfloat16):
        way = compiled_softmax() if compiles else softmax_in_pieces
        found = results(way, inputs, labels), plain(inputs, labels)
    for name, true, ours, theirs in zip(NAMES, exact, *found):
        errors = [float((x.double() - true).norm() / true.norm()) for x in (ours, theirs)]
        assert errors[0] <= errors[1] + 1e-6, (name, errors)


def test_a_gpu_needs_no_more_than_one_piece_in_float32():
    million, of_gpu = 2**20, partial(bytes_at_a_time, "cuda", number=2)
    assert of_gpu(100, 50_265) == 8 * 100 * 50_265
    assert of_gpu(9_830, 50_265) == of_gpu(98_300, 50_265) == 512 * million
