"""Parameter groups: every parameter once, decay on matrices only."""

from __future__ import annotations

import pytest
from torch import nn

from configs.errors import InputError
from configs.schema import ModelConfig
from pretrain.model.pretraining import PretrainingModel
from pretrain.optim.groups import layer_matrices, layers_above, moments_elements, parameter_groups
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


def small_encoder() -> PretrainingModel:
    shape = ModelConfig(layers=2, hidden_size=8, heads=2, feed_forward_size=12, max_positions=16)
    return PretrainingModel(shape, 30, 1, next_sentence=False)


def test_muon_has_the_layers_matrices_and_nothing_else():
    module = small_encoder()
    groups = parameter_groups(module, 0.25, layer_decay=1.0, matrix_scale=20.0)
    names = {id(p): name for name, p in module.named_parameters()}
    found = {names[id(p)]: g["matrices"] for g in groups for p in g["params"] if g["matrices"]}
    kinds = ("qkv", "attention_output", "feed_forward_inner", "feed_forward_output")
    assert found == {
        f"encoder.layers.{layer}.{kind}.weight": 3 if kind == "qkv" else 1
        for layer in range(2)
        for kind in kinds
    }
    assert sum(len(g["params"]) for g in groups) == len(names)
    assert {(g["matrices"] > 0, g["rate_scale"]) for g in groups} == {(True, 20.0), (False, 1)}
    assert {g["weight_decay"] for g in groups if g["matrices"]} == {0.25}


def test_a_gated_input_holds_two_matrices():
    module = random_model(tiny(feed_forward="geglu"))
    name = "encoder.layers.1.feed_forward_inner.weight"
    assert layer_matrices(name, module.get_parameter(name), module) == 2


def test_layers_decay_muons_rate_as_all_others():
    module = small_encoder()
    groups = parameter_groups(module, 0.25, layer_decay=0.5, matrix_scale=20.0)
    scales = {g["rate_scale"] for g in groups if g["matrices"]}
    assert scales == {10.0, 5.0}


def test_without_a_layer_to_train_muon_is_refused():
    with pytest.raises(InputError, match=r"optimizer\.name=muon: no layer has a matrix"):
        parameter_groups(model(), 0.01, layer_decay=1.0, matrix_scale=20.0)


def test_an_update_rule_keeps_two_numbers_of_a_weight_but_muon_one_of_its_matrices():
    module = small_encoder()
    weights = sum(p.numel() for p in module.parameters())
    matrices = 2 * (4 * 8 * 8 + 2 * 8 * 12)
    assert moments_elements(module, "adamw") == 2 * weights
    assert moments_elements(module, "muon") == 2 * weights - matrices
