"""LAMB against You et al., 2019, algorithm 2, written per tensor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pretrain.optim.lamb import Lamb, trust_ratios

BETAS, EPSILON, DECAY, RATE = (0.9, 0.98), 1e-6, 0.1, 0.02


class PlainLamb:
    """Algorithm 2 for one tensor, in float64; the scaling function is the identity."""

    def __init__(self, weights: Tensor, decay: float) -> None:
        self.x, self.decay, self.t = weights.double().clone(), decay, 0
        self.m, self.v = torch.zeros_like(self.x), torch.zeros_like(self.x)

    def step(self, gradient: Tensor, rate: float) -> None:
        g, (beta1, beta2) = gradient.double(), BETAS
        self.t += 1
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g**2
        m, v = self.m / (1 - beta1**self.t), self.v / (1 - beta2**self.t)
        r = m / (v.sqrt() + EPSILON) + self.decay * self.x
        adapts = self.decay > 0 and self.x.norm() > 0 and r.norm() > 0
        self.x -= rate * (self.x.norm() / r.norm() if adapts else 1) * r


def make(decays: dict[str, float], sizes: dict[str, tuple[int, ...]]):
    """Named parameters, their optimizer, and the plain counterparts."""
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: nn.Parameter(torch.randn(size, generator=generator)) for name, size in sizes.items()
    }
    groups = [
        {"params": [parameters[name]], "weight_decay": decay} for name, decay in decays.items()
    ]
    optimizer = Lamb(groups, lr=RATE, betas=BETAS, eps=EPSILON)
    plain = {name: PlainLamb(parameters[name].detach(), decays[name]) for name in sizes}
    return parameters, optimizer, plain


def test_several_steps_follow_the_formula():
    decays = {"matrix": DECAY, "tall": DECAY, "bias": 0.0}
    parameters, optimizer, plain = make(decays, {"matrix": (5, 7), "tall": (40, 2), "bias": (7,)})
    generator = torch.Generator().manual_seed(1)
    for step in range(8):
        rate = RATE / (1 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, parameter in parameters.items():
            parameter.grad = torch.randn(parameter.shape, generator=generator) * 10 ** (step - 4)
            plain[name].step(parameter.grad, rate)
        optimizer.step()
        for name, parameter in parameters.items():
            torch.testing.assert_close(
                parameter.detach(), plain[name].x.float(), rtol=2e-5, atol=1e-6
            )


def test_the_ratio_is_each_tensors_own():
    small, large = (nn.Parameter(torch.full((4, 4), value)) for value in (0.01, 100.0))
    optimizer = Lamb([small, large], lr=RATE)
    for parameter in (small, large):
        parameter.grad = torch.ones(4, 4)
    optimizer.step()
    # A step moves a tensor by `lr` times its norm, however large its gradient.
    assert (small.detach() / 0.01).mean().item() == pytest.approx(1 - RATE, rel=1e-5)
    assert (large.detach() / 100).mean().item() == pytest.approx(1 - RATE, rel=1e-5)


def test_undecayed_groups_take_adams_step():
    parameter = nn.Parameter(torch.full((3,), 50.0))
    optimizer = Lamb([{"params": [parameter], "weight_decay": 0.0}], lr=RATE)
    parameter.grad = torch.full((3,), 7.0)
    optimizer.step()
    assert parameter.detach().tolist() == pytest.approx([50 - RATE] * 3, rel=1e-6)


def test_trust_ratio_of_zero_norms_is_one():
    zeros, twos = torch.zeros(4), torch.full((4,), 2.0)
    ratios = trust_ratios([zeros, twos, zeros, twos], [twos, zeros, zeros, torch.ones(4)])
    assert [ratio.item() for ratio in ratios] == [1, 1, 1, 2]


def test_weights_of_zero_still_learn():
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimizer = Lamb([parameter], lr=RATE, weight_decay=DECAY)
    parameter.grad = torch.ones(2, 2)
    optimizer.step()
    assert parameter.detach().flatten().tolist() == pytest.approx([-RATE] * 4, rel=1e-4)


def test_a_parameter_that_joins_late_counts_its_own_steps():
    decays = {"early": DECAY, "late": DECAY}
    parameters, optimizer, plain = make(decays, {"early": (3, 3), "late": (3, 3)})
    optimizer.param_groups[0]["params"] += optimizer.param_groups.pop()["params"]
    for step in range(4):
        for name, parameter in parameters.items():
            if name == "early" or step >= 2:
                parameter.grad = torch.full((3, 3), 0.5 + step)
                plain[name].step(parameter.grad, RATE)
        optimizer.step()
    for name, parameter in parameters.items():
        torch.testing.assert_close(parameter.detach(), plain[name].x.float())


def test_the_state_resumes():
    runs = []
    for interrupted in (False, True):
        parameters, optimizer, _ = make({"it": DECAY}, {"it": (4, 4)})
        for step in range(6):
            if interrupted and step == 3:
                saved = optimizer.state_dict()
                optimizer = Lamb([parameters["it"]], lr=RATE, betas=BETAS, eps=EPSILON)
                optimizer.load_state_dict(saved)
            parameters["it"].grad = torch.full((4, 4), 1.0 + step) * torch.eye(4)
            optimizer.step()
        runs.append(parameters["it"].detach())
    assert torch.equal(*runs)


def test_closure_and_missing_gradients():
    parameter, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = Lamb([parameter, unused])

    def closure() -> Tensor:
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4
    assert (parameter < 1).all() and (unused == 1).all()
