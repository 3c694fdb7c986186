"""The loss over a large vocabulary, and the gradient of the word embeddings, against float64.

Axes: M predicted tokens, T tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from launch.selfchecks.batches import zipf
from launch.selfchecks.bench import Bench
from launch.selfchecks.errors import Errors, relative_error, within
from launch.selfchecks.finding import FAILED, OK, Finding, guarded, judged, skipped
from pretrain.model.flops import DTYPES
from pretrain.model.loss import DecodedCrossEntropy
from pretrain.model.softmax import Softmax, compiled_softmax, softmax_in_pieces
from pretrain.model.tied_embeddings import LookUp, TiedGradient

VOCABULARY = 50_265
SIZES = {"cpu": (256, 256, 8192), "cuda": (4096, 768, 65_536)}
"""M, D, T"""
PULL = 4.5
"""of the label's embedding in a hidden state: about half of the labels get the highest logit"""
ROUNDINGS = 16
"""of the type, that a sum of losses may be off by: a plain one's error may be zero by chance"""


class Found(NamedTuple):
    """What a way to compute the loss gives."""

    loss: Tensor
    correct: Tensor
    gradients: tuple[Tensor, ...]
    """of hidden states, embeddings and bias"""


@dataclass(frozen=True)
class Inputs:
    """Hidden states that know about half of their labels, and everything else a loss needs."""

    hidden_MD: Tensor
    word_VD: Tensor
    bias_V: Tensor
    labels_M: Tensor

    @classmethod
    def make(cls, device: torch.device) -> Inputs:
        """In float32."""
        predicted, width, _ = SIZES[device.type]
        generator = torch.Generator().manual_seed(0)
        word_VD = torch.randn(VOCABULARY, width, generator=generator) / width**0.5
        labels_M = zipf(predicted, VOCABULARY, seed=0)
        noise_MD = torch.randn(predicted, width, generator=generator)
        bias_V = 0.1 * torch.randn(VOCABULARY, generator=generator)
        tensors = (noise_MD + PULL * word_VD[labels_M], word_VD, bias_V, labels_M)
        return cls(*(tensor.to(device) for tensor in tensors))


def check(bench: Bench) -> Iterator[Finding]:
    """The loss in each type, the look-up's gradient, and both where they meet."""
    inputs = Inputs.make(bench.device)
    exact = computed(plain_sums, inputs, torch.float64)
    for precision in bench.precisions:
        findings = compare_loss(precision, inputs, exact, bench.device, our_sums)
        yield from guarded(f"loss {precision}", findings)
    if bench.device.type == "cuda":  # a CPU's loss is never compiled
        yield from compiled(bench.precisions[-1], inputs, exact, bench.device)
    yield from guarded("gradient of looked-up words", look_up(bench.device))
    yield tied(inputs, exact)


def compiled(
    precision: str, inputs: Inputs, exact: Found, device: torch.device
) -> Iterator[Finding]:
    """The same with the softmax of `engine.compile`."""
    name = f"{precision}, compiled"
    if find_spec("triton") is None:
        yield skipped(f"loss {name}", "torch's compiler needs Triton")
        return
    sums = partial(our_sums, softmax=compiled_softmax())
    yield from guarded(f"loss {name}", compare_loss(precision, inputs, exact, device, sums, name))


def compare_loss(
    precision: str,
    inputs: Inputs,
    exact: Found,
    device: torch.device,
    sums: Sums,
    name: str | None = None,
) -> Iterator[Finding]:
    """Loss, correct predictions and gradients, each beside the plain computation's."""
    name = name or precision
    dtype = DTYPES[precision]
    with autocast(device, dtype):
        ours = computed(sums, inputs, torch.float32)
        plain = computed(plain_sums, inputs, torch.float32)
        seconds = timed(lambda: computed(sums, inputs, torch.float32), device)
    errors = Errors(*(relative_error(found.loss, exact.loss) for found in (ours, plain)))
    good = errors.ours <= 3 * errors.plain + ROUNDINGS * torch.finfo(dtype).eps
    text = f"off by {errors.ours:.1e} (plain {errors.plain:.1e}), {1e3 * seconds:.1f} ms both ways"
    yield judged(f"loss {name}", good, text, errors=list(errors), seconds=seconds)
    total, counts = len(inputs.labels_M), [int(found.correct) for found in (ours, plain, exact)]
    off, plain_off = abs(counts[0] - counts[2]), abs(counts[1] - counts[2])
    text = f"{counts[0]} of {total} (float64: {counts[2]}, plain: {counts[1]})"
    good = off <= plain_off + 1 + total * torch.finfo(dtype).eps
    yield judged(f"correct predictions {name}", good, text, counts=counts)
    found = {
        part: Errors(*(relative_error(x.gradients[i], exact.gradients[i]) for x in (ours, plain)))
        for i, part in enumerate(("hidden states", "embeddings", "bias"))
    }
    bad = [part for part, errors in found.items() if not within(errors, dtype)]
    text = ", ".join(f"{n} off by {e.ours:.1e} (plain {e.plain:.1e})" for n, e in found.items())
    yield Finding(f"gradients {name}", FAILED if bad else OK, text, {"errors": found})


def look_up(device: torch.device) -> Iterator[Finding]:
    """The gradient of embeddings that were looked up as often as words are in text."""
    _, width, tokens = SIZES[device.type]
    tokens_T = zipf(tokens, VOCABULARY, seed=1).to(device)
    generator = torch.Generator().manual_seed(1)
    gradient_TD = torch.randn(tokens, width, generator=generator).to(device)
    word_VD = torch.zeros(VOCABULARY, width, device=device)

    def gradient() -> Tensor:
        weights = word_VD.clone().requires_grad_()
        LookUp.apply(weights, tokens_T, TiedGradient()).backward(gradient_TD)
        assert weights.grad is not None, "a backward pass leaves one"
        return weights.grad

    def summed(dtype: torch.dtype) -> Tensor:
        return word_VD.to(dtype).index_add(0, tokens_T, gradient_TD.to(dtype))

    ours, again, exact = gradient(), gradient(), summed(torch.float64)
    errors = Errors(relative_error(ours, exact), relative_error(summed(torch.float32), exact))
    seconds = timed(gradient, device)
    most = int(tokens_T.bincount().max())
    text = f"off by {errors.ours:.1e} (plain {errors.plain:.1e}), {1e3 * seconds:.1f} ms, "
    text += f"{tokens} look-ups, one word {most} times"
    good = within(errors, torch.float32)
    yield judged("gradient of looked-up words", good, text, errors=list(errors), seconds=seconds)
    same = torch.equal(ours, again)
    good = same or device.type == "cuda"
    yield judged("the same, twice", good, f"{'equal' if same else 'OTHER'} bits", equal=same)


def tied(inputs: Inputs, exact: Found) -> Finding:
    """One gradient of embeddings that are looked up and decode: the sum of both."""
    device = inputs.word_VD.device
    width, tokens = inputs.word_VD.shape[1], SIZES[device.type][2]
    tokens_T = zipf(tokens, VOCABULARY, seed=2).to(device)
    direction_TD = torch.randn(tokens, width, generator=torch.Generator().manual_seed(2)).to(device)
    looked_up = torch.zeros_like(exact.gradients[1]).index_add_(0, tokens_T, direction_TD.double())
    # Both shares are of one size, so that neither hides an error of the other.
    scale = float(exact.gradients[1].norm() / looked_up.norm())
    word_VD, gradient = inputs.word_VD.clone().requires_grad_(), TiedGradient()
    embedded_TD = LookUp.apply(word_VD, tokens_T, gradient)
    fixed = inputs.hidden_MD, word_VD, inputs.bias_V, inputs.labels_M, gradient
    loss, _ = DecodedCrossEntropy.apply(*fixed)
    # The look-up's pass must come last, as in the model, where hidden states follow from it.
    (loss + (embedded_TD * (scale * direction_TD)).sum()).backward()
    assert word_VD.grad is not None, "a backward pass leaves one"
    error = relative_error(word_VD.grad, exact.gradients[1] + scale * looked_up)
    text = f"off by {error:.1e} (at most 1e-05)"
    return judged("tied embeddings' gradient", error <= 1e-5, text, error=error)


Sums = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def our_sums(
    hidden_MD: Tensor,
    word_VD: Tensor,
    bias_V: Tensor,
    labels_M: Tensor,
    softmax: Softmax = softmax_in_pieces,
) -> tuple[Tensor, Tensor]:
    """The project's own."""
    inputs = hidden_MD, word_VD, bias_V, labels_M
    loss, correct = DecodedCrossEntropy.apply(*inputs, None, softmax)
    return loss, correct


def plain_sums(
    hidden_MD: Tensor, word_VD: Tensor, bias_V: Tensor, labels_M: Tensor
) -> tuple[Tensor, Tensor]:
    """All logits at once, by torch's own functions."""
    logits_MV = F.linear(hidden_MD, word_VD, bias_V)
    loss = F.cross_entropy(logits_MV, labels_M, reduction="sum")
    return loss, (logits_MV.detach().argmax(1) == labels_M).sum()


def computed(sums: Sums, inputs: Inputs, dtype: torch.dtype) -> Found:
    """Loss, correct predictions and all gradients, the weights in a type."""
    floats = inputs.hidden_MD, inputs.word_VD, inputs.bias_V
    leaves = [tensor.to(dtype, copy=True).requires_grad_() for tensor in floats]
    loss, correct = sums(leaves[0], leaves[1], leaves[2], inputs.labels_M)
    return Found(loss.detach(), correct, torch.autograd.grad(loss, leaves))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """As a training step has it."""
    return torch.autocast(device.type, torch.bfloat16, dtype == torch.bfloat16)


def timed(work: Callable[[], object], device: torch.device, turns: int = 3) -> float:
    """Seconds of the fastest turn."""
    best = float("inf")
    for _ in range(turns):
        started = perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, perf_counter() - started)
    return best
