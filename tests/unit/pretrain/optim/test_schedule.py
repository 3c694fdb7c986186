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


def wsd(steps: int, decaying: int, **more) -> ScheduleConfig:
    return ScheduleConfig(
        max_steps=steps, decay="wsd", decay_fraction=decaying / steps, warmup_steps=4, **more
    )


def test_wsd_by_hand():
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 3 / 4, 2 / 4, 1 / 4]
    assert factors(wsd(10, 3)) == pytest.approx(expected)


def test_one_minus_the_root_of_the_share_that_is_done():
    # Haegele et al., 2024, equation 2; with one step more than decay, so that none has a rate of 0.
    found = factors(wsd(20, 7, decay_shape="1-sqrt"))
    assert found[:13] == factors(wsd(20, 7))[:13]
    assert found[13:] == pytest.approx([1 - math.sqrt(n / 8) for n in range(1, 8)])


@pytest.mark.parametrize("shape", ["linear", "1-sqrt"])
def test_up_to_its_decay_a_wsd_run_is_every_other_one(shape):
    ends = [(20, 1), (20, 10), (33, 20), (500, 25)]
    for steps, decaying in ends:
        found = factors(wsd(steps, decaying, decay_shape=shape))
        stable = steps - decaying
        assert found[:stable] == factors(wsd(1000, 1))[:stable]
        assert found[stable - 1] == 1 > found[stable] and min(found) > 0


def test_wsd_by_the_clock():
    config = ScheduleConfig(max_minutes=10.0, warmup_fraction=0.1, decay="wsd", decay_fraction=0.2)
    schedule = Schedule.make(config, [Phase(0, 10, 1000)])
    for minutes, factor in {0.5: 0.5, 1.0: 1, 7.9: 1, 8.0: 1, 9.0: 0.5, 9.8: 0.1, 11: 0}.items():
        rate = schedule.learning_rate(1.0, 0, schedule.progress(0, minutes))
        assert rate == pytest.approx(factor)


@pytest.mark.parametrize("limit", [{"max_steps": 40}, {"max_epochs": 4.0}, {"max_tokens": 4000}])
def test_wsd_in_steps_epochs_and_tokens(limit):
    config = ScheduleConfig(**limit, decay="wsd", decay_fraction=0.25)
    schedule = Schedule.make(config, [Phase(0, 10, 1000)])
    rates = [schedule.learning_rate(1.0, step, 0.0) for step in range(40)]
    assert rates == factors(ScheduleConfig(max_steps=40, decay="wsd", decay_fraction=0.25))
    assert rates.count(1.0) == 30


def test_wsd_in_every_phase_that_has_a_rate_of_its_own():
    second = PhaseConfig(from_steps=10, learning_rate=0.5, warmup_fraction=0.2)
    config = ScheduleConfig(max_steps=20, decay="wsd", decay_fraction=0.3)
    schedule = Schedule.make(config, [Phase(0, 1, 1), Phase(10, 1, 1, second)])
    rates = [schedule.learning_rate(1.0, step, 0.0) for step in range(20)]
    decay = [3 / 4, 2 / 4, 1 / 4]
    assert rates[:10] == pytest.approx([1.0] * 7 + decay)
    assert rates[10:] == pytest.approx([0.25] + [0.5] * 6 + [0.5 * share for share in decay])


@pytest.mark.parametrize("fraction", [0.05, 1 / 3, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_a_decay_of_any_share_of_any_run(steps, fraction):
    found = factors(ScheduleConfig(max_steps=steps, decay="wsd", decay_fraction=fraction))
    assert found[0] == 1.0 and min(found) > 0 and found == sorted(found, reverse=True)
    # A decay that is the whole run is the line of `linear`.
    if fraction == 1:
        assert found == factors(ScheduleConfig(max_steps=steps))


def test_a_warm_up_and_a_decay_that_overlap_are_refused():
    cases = [
        ({"max_steps": 10, "warmup_steps": 8}, "a warm-up of 8 are more than the 10 steps"),
        ({"max_steps": 10, "warmup_fraction": 0.8}, "a warm-up of 8"),
        ({"max_minutes": 5.0, "warmup_fraction": 0.8}, "a warm-up of 0.8"),
    ]
    for limits, message in cases:
        config = ScheduleConfig(**limits, decay="wsd", decay_fraction=0.5)
        with pytest.raises(InputError, match=message):
            Schedule.make(config, [Phase(0, 10, 1000)])


def test_a_decay_goes_on_from_the_stable_part_only():
    stable = Schedule.make(wsd(100, 10), [Phase(0, 1, 1)])
    early = Schedule.make(wsd(60, 20), [Phase(0, 1, 1)])
    last = {step: stable.learning_rate(1.0, step - 1, 0.0) for step in (2, 40, 95)}
    for step in (2, 40):
        early.require_same_rate(1.0, step, last[step])
    stable.require_same_rate(1.0, 95, last[95])
    with pytest.raises(InputError, match=r"was left at a learning rate of 0\.54"):
        Schedule.make(wsd(200, 10), [Phase(0, 1, 1)]).require_same_rate(1.0, 95, last[95])
    with pytest.raises(InputError, match="stable part"):
        early.require_same_rate(1.0, 45, 1.0)
    # Another decay than wsd may be given another end, as ever.
    Schedule.make(ScheduleConfig(max_steps=9), [Phase(0, 1, 1)]).require_same_rate(1.0, 5, 0.1)


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
