"""What can be chosen of the encoder computes the papers' formulas: losses and all gradients."""

from __future__ import annotations

import pytest
import torch

from pretrain.model.pretraining import PretrainingModel, initialise
from tests.unit.pretrain.model.examples import (
    PAD,
    VOCABULARY,
    random_batch,
    random_model,
    rows,
    tiny,
)
from tests.unit.pretrain.model.slow_encoder import losses

MODERN = {"norm": "pre", "position": "rope", "feed_forward": "geglu", "bias": "decoder"}
PAIRS = {"architecture": "bert", "segment_types": 2}
CHOICES = {
    "bert": {},
    "pre": {"norm": "pre"},
    "rmsnorm": {"norm_kind": "rmsnorm"},
    "qk-norm": {"qk_norm": True},
    "qk-rmsnorm": {"qk_norm": True, "norm_kind": "rmsnorm", "position": "rope"},
    "rope": {"position": "rope", "rope_theta": 100.0},
    "no-positions": {"position": "none"},
    "geglu": {"feed_forward": "geglu"},
    "swiglu": {"feed_forward": "swiglu"},
    "relu2": {"feed_forward": "relu2"},
    "no-biases": {"bias": "none", **PAIRS},
    "decoder-bias": {"bias": "decoder"},
    "untied": {"tied": False},
    "untied-no-biases": {"tied": False, "bias": "none"},
    "modern": MODERN,
    "all": {
        **MODERN,
        **PAIRS,
        **{"qk_norm": True, "norm_kind": "rmsnorm", "feed_forward": "swiglu", "tied": False},
    },
}
choices = pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES)


def model_of(chosen: dict[str, object], **more: object) -> PretrainingModel:
    config = tiny(**{"segment_types": 2, **chosen, **more})
    return random_model(config, config.architecture == "bert").double()


def learn(model: PretrainingModel, batch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    sums = model(batch)
    loss = sums.mlm_loss_sum + sums.nsp_loss_sum
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@choices
def test_losses_and_gradients_are_those_of_the_formulas(chosen, backend):
    model, batch = model_of(chosen, attention=backend), random_batch()
    ours, weights = learn(model, batch), dict(model.named_parameters())
    loss = sum(losses(model.config, weights, PAD, batch))
    gradients = torch.autograd.grad(loss, list(weights.values()))
    for name, expected in {"loss": loss.detach(), **dict(zip(weights, gradients))}.items():
        # The loss itself is summed in float32.
        rough = {"rtol": 1e-6, "atol": 1e-6} if name == "loss" else {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(ours[name].double(), expected, **rough, msg=name)


@choices
def test_no_parameter_is_without_a_gradient(chosen):
    model, config = model_of(chosen), tiny(**chosen)
    for name, gradient in learn(model, random_batch()).items():
        assert gradient.any(), f"{name} of {config}"


@choices
def test_recomputing_layers_changes_nothing_and_dropout_follows_the_sample(chosen):
    model = model_of(chosen, dropout=0.2, attention_dropout=0.2).train()
    batch = random_batch()
    whole = learn(model, batch)
    model.encoder.activation_checkpointing = True
    for name, value in learn(model, batch).items():
        assert torch.equal(value, whole[name]), name
    halves = [learn(model, rows(batch, group)) for group in ([0, 3], [1, 2])]
    for name, value in whole.items():
        added = halves[0][name] + halves[1][name]
        torch.testing.assert_close(added, value, rtol=1e-5, atol=1e-5, msg=name)


@choices
def test_all_tokens_states_are_those_of_the_needed_ones(chosen):
    model, batch = model_of(chosen).eval(), random_batch()
    needed = torch.tensor([3, 3, 0, 20])
    with torch.no_grad():
        some = model.encoder(batch, needed)
        torch.testing.assert_close(some, model.encode(batch)[needed], rtol=1e-9, atol=1e-9)


@choices
def test_bfloat16_stays_near_float32(chosen):
    model, batch = model_of(chosen).float().eval(), random_batch()
    with torch.no_grad():
        exact, hidden = model(batch), model.encode(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rough, rough_hidden = model(batch), model.encode(batch)
    assert rough.mlm_loss_sum.dtype == torch.float32
    torch.testing.assert_close(rough.mlm_loss_sum, exact.mlm_loss_sum, rtol=3e-2, atol=0.2)
    assert (rough_hidden - hidden).pow(2).mean().sqrt() < 3e-2 * hidden.pow(2).mean().sqrt()


def test_names_and_shapes_of_the_parameters():
    weights = model_of(CHOICES["all"]).state_dict()
    shapes = {name: tuple(w.shape) for name, w in weights.items() if ".layers.1" not in name}
    assert shapes == {
        "encoder.embeddings.word.weight": (VOCABULARY, 32),
        "encoder.embeddings.segment.weight": (2, 32),
        "encoder.embeddings.norm.weight": (32,),
        "encoder.layers.0.qkv.weight": (96, 32),
        "encoder.layers.0.head_norm.query.weight": (8,),
        "encoder.layers.0.head_norm.key.weight": (8,),
        "encoder.layers.0.attention_output.weight": (32, 32),
        "encoder.layers.0.feed_forward_inner.weight": (96, 32),
        "encoder.layers.0.feed_forward_output.weight": (32, 48),
        "encoder.layers.0.feed_forward_norm.weight": (32,),
        "encoder.final_norm.weight": (32,),
        "mlm_head.dense.weight": (32, 32),
        "mlm_head.norm.weight": (32,),
        "mlm_head.decoder.weight": (VOCABULARY, 32),
        "mlm_head.bias": (VOCABULARY,),
        "nsp_head.pooler.weight": (32, 32),
        "nsp_head.classifier.weight": (2, 32),
    }
    assert "encoder.layers.1.attention_norm.weight" in weights


def initial(**chosen: object) -> dict[str, torch.Tensor]:
    config = tiny(layers=8, hidden_size=64, **chosen)
    model = PretrainingModel(config, VOCABULARY, PAD, next_sentence=False)
    initialise(model, config, 0)
    return model.state_dict()


@pytest.mark.parametrize(("initialisation", "deviation"), [("megatron", 0.005), ("zero-output", 0)])
def test_only_what_ends_a_sub_layer_begins_otherwise(initialisation, deviation):
    normal, other = initial(), initial(initialisation=initialisation)
    for name, weight in other.items():
        if name.endswith(("attention_output.weight", "feed_forward_output.weight")):
            assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        else:
            assert torch.equal(weight, normal[name]), name


def test_with_zero_outputs_layers_begin_as_the_identity():
    config = tiny(initialisation="zero-output", **MODERN)
    model, batch = random_model(config), random_batch()
    initialise(model, config, 0)
    with torch.no_grad():
        embedded = model.encoder.embeddings
        first = embedded.norm(embedded.word(batch.tokens_T) + embedded.segment.weight[0])
        expected = model.encoder.final_norm(first)
        torch.testing.assert_close(model.encode(batch), expected)


def test_a_decoder_of_its_own_learns_beside_the_embeddings():
    model, batch = model_of({"tied": False}), random_batch()
    model.mlm_head.decoder.weight.requires_grad_(False)
    gradients = learn(model, batch)
    assert gradients["mlm_head.decoder.weight"] is None
    assert gradients["encoder.embeddings.word.weight"].any()
