"""All pairs of the encoder's choices against one slow reference, and what else each must stand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pretrain.model.flops import training_flops
from pretrain.model.pretraining import initialise
from tests.unit.pretrain.model import slow_encoder
from tests.unit.pretrain.model.combinations import AXES, ROWS, empty_model, name, random_weights
from tests.unit.pretrain.model.covering import Row, covering_array, pairs
from tests.unit.pretrain.model.examples import PAD, VOCABULARY, loss_of, random_batch

BACKENDS = ("eager", "sdpa")
LENGTHS = (7, 14, 1, 9)
STARTS = ((0, 3), (0, 5, 6), (0,), (0, 8))
"""where the documents of each sequence begin"""
every_row = pytest.mark.parametrize("row", ROWS, ids=name)


def batch_of(row: Row, seed: int = 0):
    """Sequences of several documents where the row says so."""
    batch = random_batch(LENGTHS, seed=seed)
    if not row["documents"]:
        return batch
    first = batch.boundaries.tolist()
    bounds = [first[n] + start for n, starts in enumerate(STARTS) for start in starts]
    documents = torch.tensor([*bounds, first[-1]], dtype=torch.int32)
    return replace(batch, documents=documents, longest_document=int(documents.diff().max()))


def starts_of(row: Row):
    return STARTS if row["documents"] else None


def test_every_pair_of_choices_is_in_a_row():
    there = {pair for row in ROWS for pair in pairs({key: [value] for key, value in row.items()})}
    assert there == set(pairs(AXES))
    assert covering_array(AXES) == ROWS
    assert len(ROWS) < 25 < math.prod(map(len, AXES.values()))


@every_row
def test_the_parameters_are_those_of_the_fields(row):
    model = empty_model(row)
    ours = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
    heads = {key for key in ours if key.startswith("nsp_head.")}
    assert bool(heads) == row["pairs"]
    expected = slow_encoder.shapes(model.config, VOCABULARY, PAD)
    assert {key: size for key, size in ours.items() if key not in heads} == expected


@pytest.mark.parametrize("backend", BACKENDS)
@every_row
def test_losses_and_gradients_are_those_of_the_slow_encoder(row, backend):
    model = random_weights(empty_model(row, attention=backend))
    batch = batch_of(row)
    sums = model(batch)
    (sums.mlm_loss_sum + sums.nsp_loss_sum).backward()
    weights = {
        key: parameter.detach().double().requires_grad_()
        for key, parameter in model.named_parameters()
    }
    mlm, nsp = slow_encoder.losses(model.config, weights, PAD, batch, starts_of(row))
    (mlm + nsp).backward()
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(sums.mlm_loss_sum.double(), mlm, **close)
    torch.testing.assert_close(sums.nsp_loss_sum.double(), nsp, **close)
    for key, parameter in model.named_parameters():
        expected = weights[key].grad
        scale = max(1.0, expected.abs().max().item())
        difference = (parameter.grad.double() - expected).abs().max().item()
        assert difference < 1e-4 * scale, f"{key}: {difference:g} of {scale:g}"


@every_row
def test_recomputed_activations_give_the_same_gradients(row):
    found = []
    for recompute in (False, True):
        model = random_weights(empty_model(row, recompute, dropout=0.1, attention_dropout=0.1))
        loss_of(model.train(), batch_of(row)).backward()
        found.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found))


@every_row
def test_three_steps_are_those_of_one_step_and_two_resumed(row):
    """Nothing that decides a step lives outside weights and moments: no table, no cache."""

    def begin(weights=None, moments=None):
        model = empty_model(row, dropout=0.1, attention_dropout=0.1).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        if weights is None:
            initialise(model, model.config, seed=7)
        else:
            model.load_state_dict(weights)
            optimizer.load_state_dict(moments)
        return model, optimizer

    def train(model, optimizer, seeds):
        for seed in seeds:
            optimizer.zero_grad()
            loss_of(model, batch_of(row, seed)).backward()
            optimizer.step()

    whole, first = begin(), begin()
    before = [parameter.clone() for parameter in whole[0].parameters()]
    train(*whole, seeds=(1, 2, 3))
    train(*first, seeds=(1,))
    second = begin(*(copy.deepcopy(part.state_dict()) for part in first))
    train(*second, seeds=(2, 3))
    pairs_of = zip(whole[0].parameters(), second[0].parameters())
    assert all(torch.equal(one, other) for one, other in pairs_of)
    moved = [not torch.equal(*two) for two in zip(before, whole[0].parameters())]
    assert all(moved), "a parameter that learns nothing"


@every_row
def test_flops_are_those_of_the_tokens_that_are_seen(row):
    """The slow encoder multiplies nothing but useful pairs, so torch counts the useful FLOPs."""
    model, batch = random_weights(empty_model(row)), batch_of(row)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        slow_encoder.losses(model.config, model.state_dict(), PAD, batch, starts_of(row))
    # the backward pass has two products for each
    assert training_flops(model, batch) == 3 * counter.get_total_flops() > 0
