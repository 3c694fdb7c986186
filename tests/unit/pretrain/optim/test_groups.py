"""Parameter groups: every parameter once, decay on matrices only."""

from __future__ import annotations

from torch import nn

from pretrain.optim.groups import layers_above, parameter_groups
from tests.unit.pretrain.model.examples import random_model, tiny


def model() -> nn.Module:
    layers = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 9))
    layers[3].weight = layers[0].weight
    return layers


def test_every_parameter_is_in_one_group():
    module = model()
    grouped = [
        id(p) for group in parameter_groups(module, 0.01, layer_decay=1.0) for p in group["params"]
    ]
    assert sorted(grouped) == sorted({id(p) for p in module.parameters()})


def test_only_matrices_decay():
    module = model()
    decayed, exempt = parameter_groups(module, 0.25, layer_decay=1.0)
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.25, 0.0)
    names = {id(p): name for name, p in module.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {"0.weight", "1.weight"}
    assert {names[id(p)] for p in exempt["params"]} == {"1.bias", "2.weight", "2.bias", "3.bias"}


def test_frozen_parameters_are_left_out():
    module = model()
    module[0].weight.requires_grad_(False)
    decayed, _ = parameter_groups(module, 0.01, layer_decay=1.0)
    assert [p is module[1].weight for p in decayed["params"]] == [True]


def test_the_final_norm_learns_like_the_last_layer():
    pre_norm = random_model(tiny(norm="pre"))
    depth = layers_above("encoder.final_norm.weight", pre_norm)
    assert depth == layers_above("encoder.layers.1.qkv.weight", pre_norm) == 1
