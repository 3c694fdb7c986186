"""A CPU kernel in the place of flash attention's: the numbers of the layout around it.

It computes the definition, sequence by sequence, and refuses what the real one refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def sequences(bounds: Tensor) -> list[slice]:
    """The rows of each."""
    ends = bounds.tolist()
    return [slice(start, end) for start, end in zip(ends, ends[1:])]


def check(tensors: tuple[Tensor, ...], bounds: Tensor, longest: int) -> None:
    """What the real kernel would refuse, or read beyond."""
    for tensor in tensors:
        assert tensor.dtype == torch.bfloat16 and tensor.dim() == 3 and tensor.stride(-1) == 1
        assert tensor.shape[-1] % 8 == 0 and tensor.shape[-1] <= 256
        assert int(bounds[-1]) == len(tensor), "every token is of a sequence"
    assert bounds.dtype == torch.int32 and 0 < int(bounds.diff().max()) <= longest


def probabilities(query: Tensor, key: Tensor, scale: float, left: int, right: int) -> Tensor:
    """(H, Q, S): key j is seen from i - left to i + right; -1: without limit."""
    scores = torch.einsum("qhk,shk->hqs", query.float(), key.float()) * scale
    distance = torch.arange(len(key)) - torch.arange(len(query))[:, None]
    unseen = torch.zeros_like(distance, dtype=torch.bool)
    if left >= 0:
        unseen |= distance < -left
    if right >= 0:
        unseen |= distance > right
    return scores.masked_fill(unseen, -torch.inf).softmax(-1)


def window(left: int | None, right: int | None) -> tuple[int, int]:
    return (-1 if left is None else left), (-1 if right is None else right)


def forward(
    query, key, value, bounds, _, longest, *rest, scale=None, window_size_left=None,
    window_size_right=None, **others,
):  # fmt: skip
    """`aten._flash_attention_forward`: its output, and nothing of dropout."""
    check((query, key, value), bounds, longest)
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    limits, scale = window(window_size_left, window_size_right), scale or query.shape[-1] ** -0.5
    for own in sequences(bounds):
        seen = probabilities(query[own], key[own], scale, *limits)
        out[own] = torch.einsum("hqs,shk->qhk", seen, value[own].float()).to(query.dtype)
    state, none = torch.zeros(2, dtype=torch.uint64), torch.empty((), dtype=torch.uint64)
    return out, torch.empty(query.shape[1], len(query)), state, none, query.new_empty(0)


def backward(
    gradient, query, key, value, out, normaliser, bounds, _, longest, *rest, scale=None,
    window_size_left=None, window_size_right=None, **others,
):  # fmt: skip
    """`aten._flash_attention_backward`: softmax is computed again, as the kernel does."""
    check((gradient, query, key, value), bounds, longest)
    found = [
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key, value)
    ]
    limits, scale = window(window_size_left, window_size_right), scale or query.shape[-1] ** -0.5
    for own in sequences(bounds):
        seen, slope = probabilities(query[own], key[own], scale, *limits), gradient[own].float()
        of_seen = torch.einsum("qhk,shk->hqs", slope, value[own].float())
        of_scores = seen * (of_seen - (of_seen * seen).sum(-1, keepdim=True)) * scale
        found[0][own] = torch.einsum("hqs,shk->qhk", of_scores, key[own].float()).to(query.dtype)
        found[1][own] = torch.einsum("hqs,qhk->shk", of_scores, query[own].float()).to(query.dtype)
        found[2][own] = torch.einsum("hqs,qhk->shk", seen, slope).to(query.dtype)
    return tuple(found)


@contextmanager
def flash_on_cpu() -> Iterator[None]:
    """Within, a CPU has the operator."""
    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", forward, "CPU")
    library.impl("_flash_attention_backward", backward, "CPU")
    try:
        yield
    finally:
        library._destroy()
