"""Rotary positions: distances alone matter, and transformers turns by the same angles."""

from __future__ import annotations

import pytest
import torch

from pretrain.model.packing import Packing
from pretrain.model.rotary import Rotate, angles
from tests.unit.pretrain.model.examples import RAGGED, random_batch


def tables(places, theta=100.0, head_size=8, dtype=torch.float64):
    turned = angles(places, theta, head_size, dtype)[:, None, None]
    return turned.cos(), turned.sin()


def test_scores_depend_on_the_distance_alone():
    torch.manual_seed(0)
    qkv = torch.randn(2, 3, 4, 8, dtype=torch.float64)

    def score(first: int, second: int) -> torch.Tensor:
        turned = Rotate.apply(qkv, *tables(torch.tensor([first, second])))
        return (turned[0, 0] * turned[1, 1]).sum(-1)

    torch.testing.assert_close(score(3, 5), score(103, 105))
    assert not torch.isclose(score(3, 5), score(5, 3)).any()
    assert torch.equal(Rotate.apply(qkv, *tables(torch.tensor([3, 5])))[:, 2], qkv[:, 2])


def test_the_gradient_is_turned_back():
    qkv = torch.randn(5, 3, 2, 8, dtype=torch.float64, requires_grad=True)
    cosine, sine = tables(torch.arange(5))
    assert torch.autograd.gradcheck(lambda x: Rotate.apply(x, cosine, sine), qkv)


def test_packed_sequences_count_from_their_own_start():
    packing = Packing.of(random_batch())
    cosine, sine = packing.rotation(100.0, 8, torch.float32)
    assert len(cosine) == packing.rows
    start = 0
    for length in RAGGED:
        expected = angles(torch.arange(length), 100.0, 8, torch.float32)
        torch.testing.assert_close(cosine[start : start + length, 0, 0], expected.cos())
        torch.testing.assert_close(sine[start : start + length, 0, 0], expected.sin())
        start += length


def test_tables_are_made_once_for_each_theta():
    packing = Packing.of(random_batch())
    first, again = (packing.rotation(100.0, 8, torch.float32)[0] for _ in range(2))
    other = packing.rotation(1000.0, 8, torch.float32)[0]
    assert first is again and not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_transformers_turns_alike_up_to_8192_tokens(dtype):
    pytest.importorskip("transformers")
    from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

    places = torch.arange(8192)
    # As its rotary module does: float32 frequencies, both halves of the head by the same angle.
    frequencies = 1.0 / (160_000.0 ** (torch.arange(0, 64, 2).float() / 64))
    theirs = torch.cat([places[:, None].float() * frequencies] * 2, -1)[None]
    torch.manual_seed(0)
    qkv = torch.randn(8192, 3, 1, 64).to(dtype)
    query, key = (qkv[:, part].transpose(0, 1)[None] for part in (0, 1))
    expected = apply_rotary_pos_emb(query, key, theirs.cos(), theirs.sin())
    ours = Rotate.apply(qkv, *tables(places, 160_000.0, 64, dtype))
    for part in (0, 1):
        torch.testing.assert_close(
            ours[:, part, 0], expected[part][0, 0], rtol=1e-6 if dtype.itemsize == 4 else 1e-2,
            atol=1e-5 if dtype.itemsize == 4 else 2e-2,
        )  # fmt: skip
