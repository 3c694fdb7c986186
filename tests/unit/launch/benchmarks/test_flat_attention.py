"""Attention over one row of many sequences is that of each sequence alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from launch.benchmarks.flat_attention import flat_attention

LONGEST, HEADS, SIZE = 9, 2, 4


def alone(parts: list[torch.Tensor], reach: int | None) -> torch.Tensor:
    """(T, H, K) for queries, keys and values (1, H, T, K) of one sequence."""
    places = torch.arange(parts[0].shape[2])
    mask = None if reach is None else (places - places[:, None]).abs() <= reach
    context = scaled_dot_product_attention(*parts, attn_mask=mask, scale=0.3)
    return context[0].transpose(0, 1)


@pytest.mark.parametrize("lengths", [[9, 1, 4, 9], [9, 9, 9], [3]], ids=str)
@pytest.mark.parametrize("reach", [None, 2])
def test_each_sequence_sees_itself_and_within_its_window(lengths, reach):
    generator = torch.Generator().manual_seed(1)
    shape = 3, 1, HEADS, sum(lengths), SIZE
    qkv = torch.randn(shape, generator=generator, requires_grad=True)
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    window = None if reach is None else reach + 1
    found, _ = flat_attention(
        *(None, *qkv.unbind(), None),
        **{"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": LONGEST},
        **{"scaling": 0.3, "sliding_window": window},
    )
    spans = pairwise(bounds.tolist())
    wanted = torch.cat([alone([x[:, :, a:b] for x in qkv.unbind()], reach) for a, b in spans])
    torch.testing.assert_close(found[0], wanted)
    weights = torch.randn(wanted.shape, generator=generator)
    gradients = [torch.autograd.grad((x * weights).sum(), qkv)[0] for x in (found[0], wanted)]
    torch.testing.assert_close(*gradients)


def test_nothing_is_attended_where_all_is_dropped():
    qkv = torch.ones(3, 1, HEADS, 4, SIZE)
    bounds = torch.tensor([0, 1, 4], dtype=torch.int32)
    words = {"cu_seq_lens_q": bounds, "max_length_q": 3, "scaling": 1.0}
    assert flat_attention(None, *qkv, None, dropout=1.0, **words)[0].count_nonzero() == 0
