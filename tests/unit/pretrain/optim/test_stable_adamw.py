"""StableAdamW against Wortsman et al., 2023, algorithm 2, written per tensor."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pretrain.optim.stable_adamw import StableAdamW, slowing
from tests.unit.pretrain.optim.examples import normal

BETAS, EPSILON, DECAY, RATE = (0.9, 0.98), 1e-6, 0.1, 0.02


class PlainStableAdamW:
    """Algorithm 2 for one tensor, in float64: both decays are debiased, in place of the moments."""

    def __init__(self, weights: Tensor, decay: float) -> None:
        self.x, self.decay, self.t = weights.double().clone(), decay, 0
        self.v, self.u = torch.zeros_like(self.x), torch.zeros_like(self.x)

    def step(self, gradient: Tensor, rate: float) -> float:
        g = gradient.double()
        self.t += 1
        beta1, beta2 = (b * (1 - b ** (self.t - 1)) / (1 - b**self.t) for b in BETAS)
        self.v = beta1 * self.v + (1 - beta1) * g
        self.u = beta2 * self.u + (1 - beta2) * g**2
        rms = (g**2 / self.u.clamp(min=EPSILON**2)).mean().sqrt().item()
        rate /= max(1.0, rms)
        self.x = self.x - rate * self.decay * self.x - rate * self.v / (self.u.sqrt() + EPSILON)
        return rms


def test_several_steps_follow_the_formula():
    decays = {"matrix": DECAY, "tall": DECAY, "bias": 0.0}
    sizes = {"matrix": (5, 7), "tall": (40, 2), "bias": (7,)}
    parameters = {name: nn.Parameter(normal(*size)) for name, size in sizes.items()}
    groups = [{"params": [parameters[n]], "weight_decay": decay} for n, decay in decays.items()]
    optimizer = StableAdamW(groups, lr=RATE, betas=BETAS, eps=EPSILON)
    plain = {n: PlainStableAdamW(parameters[n].detach(), decays[n]) for n in sizes}
    largest = 0.0
    for step in range(8):
        rate = RATE / (1 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, parameter in parameters.items():
            # Gradients that grow are what the rule is about.
            parameter.grad = normal(*sizes[name], seed=step) * 10 ** (step - 4)
            largest = max(largest, plain[name].step(parameter.grad, rate))
        optimizer.step()
        for name, parameter in parameters.items():
            found, expected = parameter.detach(), plain[name].x.float()
            torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-6)
    assert largest > 2, "no step was slowed down"


def test_a_steady_gradient_takes_adamws_step():
    ours, theirs = (nn.Parameter(normal(4, 4)) for _ in range(2))
    own = StableAdamW([ours], RATE, BETAS, EPSILON, DECAY)
    other = torch.optim.AdamW([theirs], RATE, BETAS, EPSILON, DECAY)
    for _ in range(5):
        ours.grad = theirs.grad = normal(4, 4, seed=1)
        own.step()
        other.step()
    torch.testing.assert_close(ours, theirs)


def test_the_slowing_is_each_tensors_own_and_never_a_speeding_up():
    calm, shaken, large = torch.ones(3, 3), torch.full((3, 3), 10.0), torch.ones(30, 30)
    roots = tuple(map(torch.ones_like, (calm, shaken, large)))
    found = slowing([0.1 * calm, shaken, large], roots, EPSILON)
    assert [value.item() for value in found] == pytest.approx([1, 10, 1])


def test_second_moments_below_epsilon_count_as_epsilon():
    (found,) = slowing([torch.full((4,), 1e-5)], (torch.zeros(4),), 1e-6)
    assert found.item() == pytest.approx(10) and math.isfinite(found.item())


@pytest.mark.parametrize("bad_step", [0, 2])
def test_a_gradient_that_is_not_finite_changes_nothing(bad_step):
    results = []
    for has_bad in (True, False):
        parameter = nn.Parameter(normal(3, 3))
        optimizer = StableAdamW([parameter], lr=RATE)
        for step in range(4):
            if has_bad and step == bad_step:
                parameter.grad = torch.full((3, 3), float("nan"))
                optimizer.found_inf = torch.ones(())
                optimizer.step()
                optimizer.found_inf = torch.zeros(())
            parameter.grad = normal(3, 3, seed=step)
            optimizer.step()
        results.append([parameter.detach(), *optimizer.state[parameter].values()])
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)
