"""Hidden states in bfloat16 from layer to layer: as exact as its products, whatever the layers."""

from __future__ import annotations

import pytest
import torch

from pretrain.model.pretraining import PretrainingModel
from tests.unit.pretrain.model.examples import loss_of, random_batch, random_model, tiny

KINDS = {
    "post": {},
    "post, no biases": {"bias": "none"},
    "pre": {"norm": "pre"},
    "RMSNorm": {"norm_kind": "rmsnorm"},
    "ModernBERT": {"norm": "pre", "position": "rope", "feed_forward": "geglu", "bias": "decoder"},
    "normalised heads": {"norm": "pre", "norm_kind": "rmsnorm", "qk_norm": True},
}
BF16 = torch.bfloat16


def model_of(kind: str, residual: torch.dtype | None, layers: int = 6) -> PretrainingModel:
    model = random_model(tiny(**KINDS[kind], layers=layers))
    model.encoder.residual_dtype = residual
    for name, parameter in model.named_parameters():
        scale = 0.6 if parameter.dim() == 2 else 1.0
        parameter.data.mul_(scale)
        if "norm" in name and name.endswith("weight"):
            parameter.data.add_(1.0)
    return model


def outcome(model: PretrainingModel, is_exact: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """(hidden states, the gradient of all weights in one)."""
    batch = random_batch()
    if is_exact:
        model = model.double()
    with torch.autocast("cpu", BF16, enabled=not is_exact):
        hidden_TD = model.encode(batch)
        loss = loss_of(model, batch)
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return hidden_TD.detach(), gradient


def errors(found: tuple, exact: tuple) -> list[float]:
    return [float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact)]


@pytest.mark.parametrize("kind", KINDS)
def test_it_errs_as_bf16_does(kind):
    exact = outcome(model_of(kind, None), is_exact=True)
    wide = errors(outcome(model_of(kind, None)), exact)
    found = outcome(model_of(kind, BF16))
    assert found[0].dtype == found[1].dtype == torch.float32
    (hidden, gradient) = (error / other for error, other in zip(errors(found, exact), wide))
    assert 1.1 < hidden < 2 and 0.9 < gradient < 2


@pytest.mark.parametrize("kind", KINDS)
def test_layers_hand_on_16_bits(kind):
    model, seen = model_of(kind, BF16), []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _, given, made: seen.extend((given[0], made)))
    outcome(model)
    assert {hidden.dtype for hidden in seen} == {BF16}


@pytest.mark.parametrize("kind", ["post", "ModernBERT"])
def test_recomputation_changes_no_bit(kind):
    plain, recomputed = model_of(kind, BF16), model_of(kind, BF16)
    recomputed.encoder.activation_checkpointing = True
    for one, other in zip(outcome(plain), outcome(recomputed), strict=True):
        assert torch.equal(one, other)
