"""The learning rate over a run, against Hugging Face's schedulers and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from configs.errors import InputError
from configs.schema import ScheduleConfig
from pretrain.optim.schedule import Plan, Stretch

TOTAL, WARMUP = 40, 7


def factors(config: ScheduleConfig) -> list[float]:
    """The factor of every step."""
    plan = Plan.make(config, [Stretch(0, 1, 1)])
    return [
        plan.learning_rate(1.0, step, plan.progress(step, 0.0)) for step in range(plan.total_steps)
    ]


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, WARMUP, TOTAL - 1])
def test_same_as_hugging_face(decay, warmup):
    optimization = pytest.importorskip("transformers.optimization")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    make, total = {
        "linear": (optimization.get_linear_schedule_with_warmup, (TOTAL + 1,)),
        "cosine": (optimization.get_cosine_schedule_with_warmup, (TOTAL + 1,)),
        "constant": (optimization.get_constant_schedule_with_warmup, ()),
    }[decay]
    (theirs,) = make(optimizer, warmup, *total).lr_lambdas
    ours = factors(ScheduleConfig(max_steps=TOTAL, warmup_steps=warmup, decay=decay))
    # Theirs starts at a rate of 0 and ends above it; ours spends no step on 0.
    assert ours == pytest.approx([theirs(step + 1) for step in range(TOTAL)], abs=1e-12)


def test_linear_by_hand():
    config = ScheduleConfig(max_steps=9, warmup_steps=4)
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert factors(config) == pytest.approx(expected)


def test_cosine_by_hand():
    config = ScheduleConfig(max_steps=3, decay="cosine")
    expected = [(1 + math.cos(math.pi * quarter / 4)) / 2 for quarter in (1, 2, 3)]
    assert factors(config) == pytest.approx(expected)


def test_constant_stays_at_the_peak():
    assert factors(ScheduleConfig(max_steps=5, decay="constant")) == [1.0] * 5


def test_a_warmup_in_steps_and_as_a_fraction_agree():
    in_steps = factors(ScheduleConfig(max_steps=99, warmup_steps=10))
    assert in_steps == pytest.approx(factors(ScheduleConfig(max_steps=99, warmup_fraction=0.1)))


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, WARMUP])
def test_no_step_is_wasted_on_a_rate_of_zero(decay, warmup):
    found = factors(ScheduleConfig(max_steps=TOTAL, warmup_steps=warmup, decay=decay))
    assert min(found) > 0 and max(found) <= 1
    assert found[max(warmup - 1, 0) :] == sorted(found[max(warmup - 1, 0) :], reverse=True)


@pytest.mark.parametrize(
    ("limit", "steps"),
    [
        ({"max_steps": 123}, 123),
        ({"max_epochs": 2.0}, 20),
        ({"max_epochs": 0.25}, 3),
        ({"max_tokens": 5000}, 50),
        ({"max_tokens": 5001}, 51),
        ({"max_tokens": 1}, 1),
        ({"max_minutes": 5.0}, None),
    ],
)
def test_limits_become_steps(limit, steps):
    plan = Plan.make(ScheduleConfig(**limit), [Stretch(0, 10, 1000)])
    assert plan.total_steps == steps


def test_the_run_is_over_after_its_last_step():
    plan = Plan.make(ScheduleConfig(max_steps=5), [Stretch(0, 1, 1)])
    assert plan.progress(4, 1e9) < 1 <= plan.progress(5, 0.0)


def test_minutes_follow_the_clock():
    config = ScheduleConfig(max_minutes=10.0, warmup_fraction=0.1)
    plan = Plan.make(config, [Stretch(0, 10, 1000)])
    clock = {0.5: 0.5, 1.0: 1.0, 5.5: 0.5, 9.1: 0.1}
    for minutes, factor in clock.items():
        assert plan.learning_rate(1.0, 0, plan.progress(10**6, minutes)) == pytest.approx(factor)
    assert 0 < plan.learning_rate(1.0, 0, plan.progress(0, 0.0)) < 1e-4
    assert plan.progress(0, 10.0) >= 1
    assert plan.learning_rate(1.0, 0, plan.progress(0, 11.0)) == 0


@pytest.mark.parametrize("limit", [{"max_steps": 9}, {"max_epochs": 0.9}, {"max_tokens": 900}])
def test_a_warmup_longer_than_the_run_is_refused(limit):
    config = ScheduleConfig(**limit, warmup_steps=9)
    with pytest.raises(InputError, match=r"schedule\.warmup_steps=9"):
        Plan.make(config, [Stretch(0, 10, 1000)])
