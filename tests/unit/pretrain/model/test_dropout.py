"""Dropout is a function of (sample, site): law 1."""

import numpy as np
import pytest
import torch

from pretrain.model.dropout import AttentionDropout, Dropout, draw_kept, threshold
from pretrain.model.packing import Packing
from tests.unit.pretrain.model.examples import random_batch, random_model, rows, tiny

HEADS = 2


def hidden_mask(batch, site=4):
    ones = torch.ones(len(batch.tokens_T), 16)
    return Dropout(0.5, site)(ones, Packing.of(batch)) > 0


def attention_mask(batch, site=4):
    ones = torch.ones(len(batch.dropout_keys), HEADS, batch.longest, batch.longest)
    return AttentionDropout(0.5, site)(ones, Packing.of(batch)) > 0


def test_hidden_mask_does_not_depend_on_the_grouping():
    batch = random_batch()
    together = hidden_mask(batch).split(batch.boundaries.diff().tolist())
    apart = [hidden_mask(rows(batch, [row])) for row in range(4)]
    swapped = hidden_mask(rows(batch, [3, 1])).split([9, 12])
    assert all(torch.equal(a, b) for a, b in zip(together, apart))
    assert torch.equal(swapped[0], together[3]) and torch.equal(swapped[1], together[1])


def test_attention_mask_does_not_depend_on_the_longest_neighbour():
    batch = random_batch((5, 12, 9))
    together = attention_mask(batch)
    for row, n in enumerate((5, 12, 9)):
        assert torch.equal(together[row, :, :n, :n], attention_mask(rows(batch, [row]))[0])


@pytest.mark.parametrize("groups", [[[0], [1], [2], [3]], [[3, 1], [0, 2]]])
def test_training_gradients_do_not_depend_on_the_grouping(groups):
    model = random_model(tiny(dropout=0.2, attention_dropout=0.3)).train()
    batch = random_batch()
    model(batch).mlm_loss_sum.backward()
    together = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for group in groups:
        model(rows(batch, group)).mlm_loss_sum.backward()
    for parameter, expected in zip(model.parameters(), together):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-4)


def test_sites_and_samples_draw_different_masks():
    batch = random_batch((9, 9))
    first, second = hidden_mask(batch).split(9)
    assert not torch.equal(first, second)
    assert not torch.equal(hidden_mask(batch, site=5), hidden_mask(batch))


def test_no_two_places_of_a_model_share_a_site():
    modules = random_model(tiny(layers=3)).modules()
    sites = [module.site for module in modules if isinstance(module, Dropout)]
    assert sorted(sites) == list(range(10))


def test_mask_bytes_are_those_of_numpys_philox():
    words = np.random.Philox(key=77, counter=[0, 0, 0, 5]).random_raw(2)
    kept = torch.empty(3, 5, dtype=torch.uint8)
    draw_kept(kept, 26, key=77, site=5)
    assert kept.flatten().tolist() == [int(byte >= 26) for byte in words.tobytes()[:15]]


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keep_rate_and_mean_are_right(rate, dtype):
    batch = random_batch((400,) * 5)
    out, factor = Dropout(rate, 0).drop(torch.ones(2000, 64, dtype=dtype), Packing.of(batch))
    exact = 1 - round(256 * rate) / 256
    assert out.dtype == dtype and out.float().mean().item() == pytest.approx(exact, abs=0.005)
    assert factor == 1 / exact and out.max() == 1


def test_even_the_highest_rate_keeps_something():
    assert threshold(0.999) == 255


def test_gradient_passes_where_values_pass():
    values = torch.randn(29, 16, requires_grad=True)
    out = Dropout(0.5, 1)(values, Packing.of(random_batch()))
    out.sum().backward()
    assert torch.equal(values.grad * values, out)


def test_evaluation_drops_nothing():
    values = torch.randn(29, 16)
    assert Dropout(0.5, 1).eval()(values, Packing.of(random_batch())) is values


def test_recomputed_activations_see_the_same_masks():
    config, batch = tiny(dropout=0.2, attention_dropout=0.3), random_batch()
    gradients = []
    for recompute in (False, True):
        model = random_model(config)
        model.encoder.activation_checkpointing = recompute
        model(batch).mlm_loss_sum.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))
