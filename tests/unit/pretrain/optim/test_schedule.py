"""The learning rate over a run, against Hugging Face's schedulers and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from configs.errors import InputError
from configs.schema import PhaseConfig, ScheduleConfig
from pretrain.optim.schedule import Phase, Schedule

TOTAL, WARMUP = 40, 7


def factors(config: ScheduleConfig) -> list[float]:
    """The factor of every step."""
    schedule = Schedule.make(config, [Phase(0, 1, 1)])
    steps = range(schedule.total_steps)
    return [schedule.learning_rate(1.0, step, schedule.progress(step, 0.0)) for step in steps]


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, WARMUP, TOTAL - 1])
def test_same_as_hugging_face(decay, warmup):
    optimization = pytest.importorskip("transformers.optimization")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    make, total = {
        "linear": (optimization.get_linear_schedule_with_warmup, (TOTAL + min(warmup, 1),)),
        "cosine": (optimization.get_cosine_schedule_with_warmup, (TOTAL + min(warmup, 1),)),
        "constant": (optimization.get_constant_schedule_with_warmup, ()),
    }[decay]
    (theirs,) = make(optimizer, warmup, *total).lr_lambdas
    ours = factors(ScheduleConfig(max_steps=TOTAL, warmup_steps=warmup, decay=decay))
    # With a warm-up theirs starts at a rate of 0; ours spends no step on 0.
    skipped = min(warmup, 1)
    assert ours == pytest.approx([theirs(step + skipped) for step in range(TOTAL)], abs=1e-12)


def test_linear_by_hand():
    config = ScheduleConfig(max_steps=9, warmup_steps=4)
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert factors(config) == pytest.approx(expected)


def test_cosine_by_hand():
    config = ScheduleConfig(max_steps=3, decay="cosine")
    expected = [(1 + math.cos(math.pi * third / 3)) / 2 for third in (0, 1, 2)]
    assert factors(config) == pytest.approx(expected)


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_without_warm_up_the_first_step_has_the_peak(decay, steps):
    found = factors(ScheduleConfig(max_steps=steps, decay=decay))
    assert found[0] == 1.0
    if decay == "linear":
        assert found == pytest.approx([1 - step / steps for step in range(steps)])


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [3, 10, 41, 1000])
@pytest.mark.parametrize("fraction", [0.01, 0.06, 0.1, 1 / 3, 0.5, 0.9])
def test_a_warm_up_as_a_fraction_reaches_the_peak_in_a_step(decay, steps, fraction):
    found = factors(ScheduleConfig(max_steps=steps, warmup_fraction=fraction, decay=decay))
    assert max(found) == 1.0 and min(found) > 0
    assert found.index(1.0) + 1 == math.ceil(fraction * steps - 1e-9)


def test_the_peak_is_at_the_last_step_of_the_warm_up():
    for warmup in range(1, 9):
        found = factors(ScheduleConfig(max_steps=9, warmup_steps=warmup))
        assert found.index(1.0) + 1 == warmup and found.count(1.0) == 1


def test_every_phase_reaches_its_own_peak():
    second = PhaseConfig(from_steps=7, learning_rate=0.3)
    third = PhaseConfig(from_steps=12, learning_rate=0.2, warmup_fraction=0.3)
    phases = [Phase(0, 1, 1), Phase(7, 1, 1, second), Phase(12, 1, 1, third)]
    schedule = Schedule.make(ScheduleConfig(max_steps=22, warmup_fraction=0.15), phases)
    rates = [schedule.learning_rate(1.0, step, schedule.progress(step, 0.0)) for step in range(22)]
    assert rates[:7] == pytest.approx([1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert rates[7:12] == pytest.approx([0.3, 0.24, 0.18, 0.12, 0.06])
    assert rates[12:16] == pytest.approx([0.2 / 3, 0.4 / 3, 0.2, 0.2 * 7 / 8])


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
    schedule = Schedule.make(ScheduleConfig(**limit), [Phase(0, 10, 1000)])
    assert schedule.total_steps == steps


def test_the_run_is_over_after_its_last_step():
    schedule = Schedule.make(ScheduleConfig(max_steps=5), [Phase(0, 1, 1)])
    assert schedule.progress(4, 1e9) < 1 <= schedule.progress(5, 0.0)


def test_minutes_follow_the_clock():
    config = ScheduleConfig(max_minutes=10.0, warmup_fraction=0.1)
    schedule = Schedule.make(config, [Phase(0, 10, 1000)])
    clock = {0.5: 0.5, 1.0: 1.0, 5.5: 0.5, 9.1: 0.1}
    for minutes, factor in clock.items():
        progress = schedule.progress(10**6, minutes)
        assert schedule.learning_rate(1.0, 0, progress) == pytest.approx(factor)
    assert 0 < schedule.learning_rate(1.0, 0, schedule.progress(0, 0.0)) < 1e-4
    assert schedule.progress(0, 10.0) >= 1
    assert schedule.learning_rate(1.0, 0, schedule.progress(0, 11.0)) == 0


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
def test_minutes_without_warm_up_begin_at_the_peak(decay):
    schedule = Schedule.make(ScheduleConfig(max_minutes=10.0, decay=decay), [Phase(0, 10, 1000)])
    assert schedule.learning_rate(0.3, 0, schedule.progress(0, 0.0)) == 0.3


def test_a_run_is_done_by_the_share_of_its_steps_or_minutes():
    steps = Schedule.make(ScheduleConfig(max_steps=8), [Phase(0, 1, 1)])
    assert [steps.progress(step, 1.0) for step in (0, 2, 8)] == [0, 0.25, 1]
    assert [steps.minutes_left(step, 3.0) for step in (0, 2, 8)] == [0, 9, 0]
    minutes = Schedule.make(ScheduleConfig(max_minutes=8.0), [Phase(0, 1, 1)])
    assert [minutes.minutes_left(1, minute) for minute in (0.0, 2.0, 9.0)] == [0, 6, 0]


@pytest.mark.parametrize("limit", [{"max_steps": 9}, {"max_epochs": 0.9}, {"max_tokens": 900}])
def test_a_warmup_longer_than_the_run_is_refused(limit):
    config = ScheduleConfig(**limit, warmup_steps=9)
    with pytest.raises(InputError, match=r"schedule\.warmup_steps=9"):
        Schedule.make(config, [Phase(0, 10, 1000)])
