"""Flat and padded layouts hold the same rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.model.packing import Packing, fill, rounded
from tests.unit.pretrain.model.examples import RAGGED, random_batch


@pytest.mark.parametrize("lengths", [RAGGED, (5, 5, 5), (4,)])
def test_pad_puts_each_sequence_into_its_row(lengths):
    packing = Packing.of(random_batch(lengths))
    flat = torch.randn(sum(lengths), 3, 2)
    padded = packing.pad(flat)
    expected = torch.nn.utils.rnn.pad_sequence(flat.split(lengths), batch_first=True)
    assert torch.equal(padded, expected)


@pytest.mark.parametrize("lengths", [RAGGED, (5, 5, 5), (4,)])
def test_heads_are_split_and_joined(lengths):
    packing = Packing.of(random_batch(lengths))
    flat = torch.randn(sum(lengths), 3, 4, 2)
    split = packing.split_heads(flat)
    assert torch.equal(split, packing.pad(flat).permute(2, 0, 3, 1, 4)) and split.is_contiguous()
    assert torch.equal(packing.join_heads(split[1]), flat[:, 1])


def test_gradients_follow_the_rows():
    packing = Packing.of(random_batch((2, 4, 1)))
    flat = torch.randn(7, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(packing.pad, flat)
    flat = torch.randn(7, 2, 3, 2, dtype=torch.double, requires_grad=True)
    padded = torch.randn(3, 2, 4, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(packing.split_heads, flat)
    assert torch.autograd.gradcheck(packing.join_heads, padded)


def test_score_bias_hides_exactly_the_empty_places():
    bias = Packing.of(random_batch((1, 3))).score_bias_BL
    assert bias.tolist() == [[0.0, float("-inf"), float("-inf")], [0.0, 0.0, 0.0]]


@given(st.integers(0, 2**20))
def test_counts_are_rounded_up_by_less_than_a_thirty_second(count):
    assert count <= rounded(count) <= count * 33 / 32
    assert rounded(rounded(count)) == rounded(count)


def test_an_octave_has_as_many_sizes_as_are_asked_for():
    assert len({rounded(count) for count in range(1025, 2049)}) == 32
    assert len({rounded(count, 16) for count in range(1025, 2049)}) == 16


def test_ragged_sequences_are_padded_to_one_of_few_lengths():
    """(128, 121) and (127, 122) take the same products, and the tokens lie in the same order."""
    packing = Packing.of(random_batch((126, 121, 64)))
    assert packing.longest == 126 and packing.padded_length == 128
    flat = torch.randn(126 + 121 + 64, 3, 2, 4)
    padded = packing.pad(flat)
    assert padded.shape == (3, 128, 3, 2, 4) and not padded[0, 126:].any()
    assert torch.equal(torch.cat([padded[0, :126], padded[1, :121], padded[2, :64]]), flat)
    assert torch.equal(packing.split_heads(flat), padded.permute(2, 0, 3, 1, 4))
    assert torch.equal(packing.join_heads(packing.split_heads(flat)[1]), packing.fill(flat[:, 1]))
    assert torch.equal(packing.is_token_BL.sum(1), torch.tensor([126, 121, 64]))


def test_even_sequences_are_not_padded():
    assert Packing.of(random_batch((125, 125))).padded_length == 125


def test_rows_beyond_the_tokens_are_zero_and_get_no_gradient():
    lengths = (40, 29)  # 69 tokens, 70 rows
    packing = Packing.of(random_batch(lengths))
    assert (packing.tokens, packing.rows) == (69, 70)
    flat = torch.randn(69, 3, 4, 2, dtype=torch.double)
    filled = fill(flat, 70).requires_grad_()
    filled.data[69:] = float("nan")
    split = packing.split_heads(filled)
    joined = packing.join_heads(split[1])
    assert torch.equal(joined[:69], flat[:, 1]) and torch.equal(joined[69:], torch.zeros(1, 4, 2))
    joined.sum().backward()
    assert torch.equal(filled.grad[:69, 1], torch.ones(69, 4, 2).double())
    assert not filled.grad[69:].any()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_rows_of_no_token_are_sequences_of_their_own_no_longer_than_others(lengths):
    packing = Packing.of(random_batch(lengths))
    bounds = packing.attended
    assert bounds.dtype == torch.int32 and torch.equal(
        bounds[: len(lengths) + 1], packing.boundaries
    )
    assert bounds[-1] == packing.rows
    assert bounds.diff().min() > 0 and bounds.diff().max() == packing.longest
