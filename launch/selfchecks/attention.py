"""Every attention backend against its definition in float64: outputs, gradients, dropout.

Axes: T tokens, H heads, K head size, L tokens of a sequence; 3 for query, key, value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from configs.errors import InputError
from configs.schema import PrecisionName
from launch.selfchecks.batches import packing_of
from launch.selfchecks.bench import Bench
from launch.selfchecks.errors import Errors, relative_error, within
from launch.selfchecks.finding import FAILED, OK, Finding, guarded, judged, skipped
from pretrain.model.attention import attend, choose_backend
from pretrain.model.dropout import AttentionDropout
from pretrain.model.flops import DTYPES
from pretrain.model.packing import Packing
from pretrain.model.scope import WHOLE, Scope

BACKENDS = ("eager", "sdpa", "flash")
RAGGED = (512, 1, 7, 300, 128, 511, 33)
LENGTHS = ((1,), (7,), (128,), (511,), (512,), (128,) * 4, RAGGED)
DOCUMENTS = ((500, 12), (1,), (3, 4), (100, 200), (128,), (511,), (1, 31, 1))
"""of the ragged sequences"""
HEADS, HEAD_SIZE = 4, 64
WINDOW = Scope(reach=64)
RATE, RATE_ERROR = 0.1, 0.01
"""of dropout, and how far from it what is dropped may be: CPUs drop 26 of 256"""
NO_DROPOUT = AttentionDropout(0.0, site=1)


@dataclass(frozen=True)
class Case:
    """What is attended."""

    name: str
    lengths: Sequence[int]
    scope: Scope = WHOLE
    documents: Sequence[Sequence[int]] | None = None


GROUPS = {
    "lengths": [Case("x".join(map(str, lengths)), lengths) for lengths in LENGTHS],
    "window": [Case("ragged", RAGGED, WINDOW)],
    "documents": [
        Case("ragged", RAGGED, documents=DOCUMENTS),
        Case("with a window", RAGGED, WINDOW, DOCUMENTS),
    ],
}


def check(bench: Bench) -> Iterator[Finding]:
    """Each backend in each type: values, bits, and dropout."""
    for backend in BACKENDS:
        for precision in bench.precisions:
            findings = of_backend(backend, precision, bench.device)
            yield from guarded(f"{backend} {precision}", findings)


def of_backend(backend: str, precision: PrecisionName, device: torch.device) -> Iterator[Finding]:
    """As far as it runs here."""
    dtype, name = DTYPES[precision], f"{backend} {precision}"
    if lacking := why_not(backend, device, dtype, 0.0, WHOLE):
        yield skipped(name, lacking)
        return
    for group, cases in GROUPS.items():
        if lacking := why_not(backend, device, dtype, 0.0, cases[-1].scope):
            yield skipped(f"{name}, {group}", lacking)
        else:
            yield compare(f"{name}, {group}", backend, cases, device, dtype)
    yield equal_bits(name, backend, device, dtype)
    if lacking := why_not(backend, device, dtype, RATE, WHOLE):
        yield skipped(f"{name}, dropout", lacking)
    else:
        yield from dropout(name, backend, device, dtype)


def why_not(
    backend: str, device: torch.device, dtype: torch.dtype, rate: float, scope: Scope
) -> str | None:
    """Why a backend does not run here, in words; None: it does."""
    try:
        choose_backend(backend, device, dtype, 512, rate, [scope])
    except InputError as error:
        return str(error)
    return None


def compare(
    name: str, backend: str, cases: Sequence[Case], device: torch.device, dtype: torch.dtype
) -> Finding:
    """The largest errors over cases, beside those of the plain definition in the same type."""
    found = {case.name: errors_of(backend, case, device, dtype) for case in cases}
    bad = [
        f"{case} {what}"
        for case, pairs in found.items()
        for what, errors in pairs.items()
        if not within(errors, dtype)
    ]
    texts = []
    for what in ("output", "gradient"):
        ours = max(pairs[what].ours for pairs in found.values())
        plain = max(pairs[what].plain for pairs in found.values())
        texts.append(f"{what} off by {ours:.1e} (plain {plain:.1e})")
    text = ", ".join(texts) + (f"; wrong: {', '.join(bad)}" if bad else "")
    values = {
        case: {what: [errors.ours, errors.plain] for what, errors in pairs.items()}
        for case, pairs in found.items()
    }
    return Finding(name, FAILED if bad else OK, text, {"errors": values})


def errors_of(
    backend: str, case: Case, device: torch.device, dtype: torch.dtype
) -> dict[str, Errors]:
    """Of the context and of the gradient of queries, keys and values."""
    qkv, direction = (values.to(device, dtype) for values in inputs(sum(case.lengths)))
    packing = packing_of(case.lengths, device, documents=case.documents)
    ours = run(qkv, direction, backend, packing, case.scope)
    exact, plain = (
        by_definition(qkv.to(kind), direction.to(kind), case) for kind in (torch.float64, dtype)
    )
    return {
        what: Errors(relative_error(ours[i], exact[i]), relative_error(plain[i], exact[i]))
        for i, what in enumerate(("output", "gradient"))
    }


def inputs(tokens: int) -> tuple[Tensor, Tensor]:
    """Random (T, 3, H, K), and the gradient (T, H, K) of the context."""
    generator = torch.Generator().manual_seed(tokens)
    qkv = torch.randn(tokens, 3, HEADS, HEAD_SIZE, generator=generator)
    return qkv, torch.randn(tokens, HEADS, HEAD_SIZE, generator=generator)


def run(
    qkv_T3HK: Tensor,
    direction_THK: Tensor,
    backend: str,
    packing: Packing,
    scope: Scope = WHOLE,
    rate: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The context of all tokens, and the gradient of the inputs."""
    qkv_T3HK = qkv_T3HK.detach().clone().requires_grad_()
    dropout = AttentionDropout(rate, site=1) if rate else NO_DROPOUT
    context = attend(packing.fill(qkv_T3HK), packing, backend, dropout, scope)[: packing.tokens]
    context.backward(direction_THK)
    assert qkv_T3HK.grad is not None, "a backward pass leaves one"
    return context.detach(), qkv_T3HK.grad


def by_definition(qkv_T3HK: Tensor, direction_THK: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(K)) V, one sequence at a time (Vaswani et al. 2017, section 3.2.1), and
    the gradient that autograd makes of it; in the type of the inputs."""
    qkv_T3HK = qkv_T3HK.detach().clone().requires_grad_()
    parts = []
    for row, part in enumerate(qkv_T3HK.split(list(case.lengths))):
        query, key, value = part.permute(1, 2, 0, 3)
        scores = query @ key.transpose(1, 2) * HEAD_SIZE**-0.5
        documents = case.documents[row] if case.documents else [case.lengths[row]]
        hidden = ~seen(documents, case.scope.reach).to(scores.device)
        parts.append((scores.masked_fill(hidden, -torch.inf).softmax(-1) @ value).transpose(0, 1))
    context = torch.cat(parts)
    context.backward(direction_THK)
    assert qkv_T3HK.grad is not None, "a backward pass leaves one"
    return context.detach(), qkv_T3HK.grad


def seen(documents: Sequence[int], reach: int | None) -> Tensor:
    """bool (L, L): which keys each query sees."""
    numbers = torch.arange(len(documents)).repeat_interleave(torch.tensor(documents))
    places = torch.arange(len(numbers))
    together = numbers[:, None] == numbers
    if reach is None:
        return together
    near: Tensor = (places[:, None] - places).abs() <= reach
    return together & near


def equal_bits(name: str, backend: str, device: torch.device, dtype: torch.dtype) -> Finding:
    """Whether the same inputs give the same bits; on CUDA a backward pass may add in any order."""
    qkv, direction = (values.to(device, dtype) for values in inputs(sum(RAGGED)))
    packing = packing_of(RAGGED, device)
    first, second = (run(qkv, direction, backend, packing) for _ in range(2))
    same = [torch.equal(a, b) for a, b in zip(first, second)]
    words = [f"{w} {'equal' if s else 'DIFFER'}" for w, s in zip(("outputs", "gradients"), same)]
    good = same[0] and (same[1] or device.type == "cuda")
    values = dict(zip(("outputs", "gradients"), same))
    return judged(f"{name}, twice", good, ", ".join(words), **values)


def dropout(name: str, backend: str, device: torch.device, dtype: torch.dtype) -> Iterator[Finding]:
    """What share is dropped, what the seed decides, and whether the gradient knows."""
    lengths = (16,) * 256

    def attended(seed: int, value: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        # Queries of zeros: all 16 probabilities of a row are alike, and a context of ones is the
        # number of those that were kept, times the factor, over 16.
        qkv = torch.zeros(sum(lengths), 3, HEADS, HEAD_SIZE, dtype=dtype, device=device)
        qkv[:, 2] = value
        torch.manual_seed(seed)
        packing = packing_of(lengths, device, key=1000 * seed)
        return run(qkv, direction, backend, packing, rate=RATE)

    values = inputs(sum(lengths))[0][:, 2].to(device, dtype)
    kept = attended(1, torch.ones(()), values)[0].double()
    # Where nothing was dropped, a row has the whole factor.
    share, mean = float(1 - kept.mean() / kept.max()), float(kept.mean())
    good = abs(share - RATE) < RATE_ERROR and abs(mean - 1) < RATE_ERROR
    text = f"{share:.2%} dropped (asked {RATE:.0%}), the rest makes up to {mean:.4f}"
    yield judged(f"{name}, dropout", good, text, share=share, mean=mean)
    first, other = (attended(seed, values, values)[0] for seed in (1, 2))
    again, gradient = attended(1, values, first)
    same, differs = torch.equal(first, again), not torch.equal(first, other)
    text = f"same seed: {'same' if same else 'OTHER'}; other seed: {'other' if differs else 'SAME'}"
    yield judged(f"{name}, dropout's seed", same and differs, text)
    # The context C is linear in the values V, so that with C as its own gradient <C, C> is
    # <gradient of V, V>: but a tenth less where the backward pass drops others than the forward.
    forward = first.double().square().sum()
    backward = (gradient[:, 2].double() * values.double()).sum()
    error = float((forward - backward).abs() / forward)
    good = error < 2 * torch.finfo(dtype).eps
    yield judged(f"{name}, dropout's gradient", good, f"off by {error:.1e}", error=error)
