"""Muon against the post's formula written per matrix, PyTorch's own, and AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from configs.schema import ModelConfig
from pretrain.model.pretraining import PretrainingModel
from pretrain.optim import muon
from pretrain.optim.groups import layer_matrices
from pretrain.optim.muon import Muon, orthogonal, update_bytes
from tests.unit.pretrain.optim.examples import normal

MOMENTUM, DECAY, RATE, BETAS = 0.9, 0.1, 0.02, (0.9, 0.98)


class PlainMuon:
    """The update of one matrix, in float64, by its singular values: the iteration leaves the
    singular vectors as they are and maps each value s to p(s) = a s + b s^3 + c s^5, five times."""

    def __init__(self, weights: Tensor) -> None:
        self.x = weights.double().clone()
        self.buffer = torch.zeros_like(self.x)

    def step(self, gradient: Tensor, rate: float) -> None:
        g = gradient.double()
        self.buffer = MOMENTUM * self.buffer + (1 - MOMENTUM) * g
        ahead = (1 - MOMENTUM) * g + MOMENTUM * self.buffer
        u, s, v = torch.linalg.svd(ahead, full_matrices=False)
        s = s / s.square().sum().sqrt()
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        rows, columns = self.x.shape
        self.x *= 1 - rate * DECAY
        self.x -= rate * max(1, rows / columns) ** 0.5 * (u @ torch.diag(s) @ v)


def group(parameters: list[nn.Parameter], matrices: int) -> dict:
    return {"params": parameters, "matrices": matrices, "weight_decay": DECAY}


def test_several_steps_follow_the_formula_matrix_by_matrix():
    stacks = {
        "qkv": ((24, 8), 3),
        "gated": ((40, 8), 2),
        "wide": ((8, 20), 1),
        "other": ((8, 8), 1),
    }
    parameters = {name: nn.Parameter(normal(*shape)) for name, (shape, _) in stacks.items()}
    optimizer = Muon([group([parameters[n]], m) for n, (_, m) in stacks.items()], momentum=MOMENTUM)
    plain = {
        n: [PlainMuon(x) for x in parameters[n].detach().chunk(m)] for n, (_, m) in stacks.items()
    }
    for step in range(6):
        rate = RATE / (1 + step)
        for number, own in enumerate(optimizer.param_groups):
            own["lr"] = rate
            parameter = own["params"][0]
            # Matrices of a stack have gradients of very different size: as one they would go wrong.
            scale = torch.logspace(-3, 3, len(parameter))[:, None]
            parameter.grad = normal(*parameter.shape, seed=10 * step + number) * scale
        for name, parts in plain.items():
            for part, gradient in zip(parts, parameters[name].grad.chunk(len(parts))):
                part.step(gradient, rate)
        optimizer.step()
    for name, parts in plain.items():
        expected = torch.cat([part.x for part in parts]).float()
        torch.testing.assert_close(parameters[name].detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch 2.9 and later have one")
@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48)])
def test_same_as_pytorchs_where_a_tensor_is_one_matrix(shape):
    ours, theirs = (nn.Parameter(normal(*shape)) for _ in range(2))
    own = Muon([group([ours], 1)], lr=RATE, dtype=torch.bfloat16)
    other = torch.optim.Muon([theirs], lr=RATE, weight_decay=DECAY)
    for step in range(8):
        before = ours.detach().clone()
        ours.grad = theirs.grad = normal(*shape, seed=step) * 10.0 ** (step - 4)
        own.step()
        other.step()
        moved = (ours.detach() - before).norm()
        # bf16 has 3 digits, and both round at other places.
        assert (ours - theirs).norm() < 0.05 * moved * (step + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 96, 16), (2, 16, 96)])
def test_singular_values_become_about_one(shape, dtype):
    found = orthogonal(1e-4 * normal(*shape), dtype)
    assert found.dtype == dtype and found.shape == shape
    values = torch.linalg.svdvals(found.float())
    # The smallest of a square random matrix are too small for five rounds.
    assert values.max() < 1.3 and values.median() > 0.6


def test_a_gradient_of_zero_moves_nothing():
    parameter = nn.Parameter(normal(4, 4))
    before = parameter.detach().clone()
    optimizer = Muon([group([parameter], 1) | {"weight_decay": 0.0}], lr=RATE)
    parameter.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.equal(parameter.detach(), before)


def test_everything_else_is_adamws_bit_for_bit():
    ours, theirs = (nn.Parameter(normal(6, 4)) for _ in range(2))
    matrix = nn.Parameter(normal(4, 4))
    own = Muon([group([ours], 0), group([matrix], 1)], lr=RATE, betas=BETAS, eps=1e-6)
    other = torch.optim.AdamW([theirs], RATE, BETAS, eps=1e-6, weight_decay=DECAY, fused=True)
    for step in range(4):
        for optimizer in (own, other):
            optimizer.param_groups[0]["lr"] = RATE / (1 + step)
        ours.grad = theirs.grad = normal(6, 4, seed=step)
        matrix.grad = normal(4, 4, seed=step)
        own.step()
        other.step()
    assert torch.equal(ours, theirs)


def trainable() -> tuple[list[nn.Parameter], Muon]:
    """A parameter of AdamW's and one that holds three matrices of Muon's."""
    parameters = [nn.Parameter(normal(6, 4)), nn.Parameter(normal(12, 4))]
    return parameters, Muon([group([parameters[0]], 0), group([parameters[1]], 3)], lr=RATE)


def take(parameters: list[nn.Parameter], optimizer: Muon, seed: int, factor: float = 1.0) -> None:
    for parameter in parameters:
        parameter.grad = normal(*parameter.shape, seed=seed) * factor
    optimizer.found_inf = torch.tensor(float(factor != 1))
    optimizer.step()


def everything(parameters: list[nn.Parameter], optimizer: Muon) -> list[Tensor]:
    kept = [value for p in parameters for _, value in sorted(optimizer.state[p].items())]
    return [*(p.detach() for p in parameters), *kept]


@pytest.mark.parametrize("bad_step", [0, 2])
@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_changes_nothing(bad_step, factor):
    with_it, without = trainable(), trainable()
    for step in range(4):
        if step == bad_step:
            take(*with_it, seed=99, factor=factor)
        take(*with_it, seed=step)
        take(*without, seed=step)
    for found, expected in zip(everything(*with_it), everything(*without), strict=True):
        assert torch.equal(found, expected)


def test_the_state_resumes():
    (parameters, optimizer), straight = trainable(), trainable()
    for step in range(6):
        if step == 3:
            saved = optimizer.state_dict()
            optimizer = Muon([group([parameters[0]], 0), group([parameters[1]], 3)])
            optimizer.load_state_dict(saved)
        take(parameters, optimizer, seed=step)
        take(*straight, seed=step)
    for found, expected in zip(everything(parameters, optimizer), everything(*straight)):
        assert torch.equal(found, expected)


def test_what_a_matrix_keeps_is_one_momentum():
    parameters, optimizer = trainable()
    take(parameters, optimizer, seed=0)
    assert set(optimizer.state[parameters[1]]) == {"step", *muon.MOMENTUM}


def test_batches_of_any_size_give_the_same(monkeypatch):
    found = []
    for numbers in (1, 2**24):
        monkeypatch.setattr(muon, "NUMBERS_AT_ONCE", numbers)
        parameters = [nn.Parameter(normal(8, 8, seed=seed)) for seed in range(5)]
        optimizer = Muon([group(parameters, 1)], lr=RATE)
        take(parameters, optimizer, seed=7)
        found.append(torch.stack([p.detach() for p in parameters]))
    torch.testing.assert_close(*found)


def test_parameters_without_a_gradient_stay():
    (parameters, optimizer), before = trainable(), normal(12, 4)
    parameters[0].grad = normal(6, 4)
    optimizer.step()
    assert torch.equal(parameters[1].detach(), before)


def test_a_closure_is_called_with_gradients():
    parameters, optimizer = trainable()

    def closure() -> Tensor:
        loss = sum((p**2).sum() for p in parameters)
        loss.backward()
        return loss

    before = [p.detach().clone() for p in parameters]
    assert optimizer.step(closure).item() == pytest.approx(sum((b**2).sum().item() for b in before))
    assert all((p != b).any() for p, b in zip(parameters, before))


def test_memory_of_an_update_is_bounded(monkeypatch):
    shape = ModelConfig(layers=3, hidden_size=16, heads=2, feed_forward_size=64, max_positions=16)
    model = PretrainingModel(shape, 50, 1, next_sentence=False)
    names = {n for n, p in model.named_parameters() if layer_matrices(n, p, model)}
    assert len(names) == 4 * 3
    # 3 x (64, 16) at once, twice: momenta in 4 bytes; two versions and two squares of a quarter.
    assert update_bytes(model, 2) == 3 * 1024 * (4 + 2 * 2 * 1.25)
    monkeypatch.setattr(muon, "NUMBERS_AT_ONCE", 1)
    assert update_bytes(model, 2) == 1024 * (4 + 2 * 2 * 1.25)
