"""Hours before anything ran: whatever a recipe leaves to the machine has a number by then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.loader import load_config
from configs.schema import PretrainConfig
from launch.ablation import estimate
from launch.ablation.grid import Grid
from launch.diagnosis import trial
from launch.diagnosis.examine import hardware_with_gpus, plan_memory
from launch.diagnosis.gpus import Device, Hardware
from launch.diagnosis.projection import step_flops
from pretrain.ranks.collectives import Ring
from tests.unit.launch.ablation.example_runs import find, finish, make_grid


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose peak need not be measured."""

    def hardware(precision: str, cache: str):
        config = load_config(PretrainConfig, "small", [f"engine.precision={precision}"])
        return hardware_with_gpus(config, "h100", 1, 8, None, None)

    monkeypatch.setattr(estimate, "_hardware", hardware)


def hours(*overrides: str) -> float | None:
    config = load_config(PretrainConfig, "small", list(overrides))
    return estimate.projected_hours(config, is_tried=False)


@pytest.mark.parametrize(
    "override",
    [
        "batch.micro_sequences=auto",
        "engine.precision=auto",
        "collective.algorithm=auto",
        "model.attention=auto",
    ],
)
def test_what_is_left_to_the_machine_is_projected(override: str) -> None:
    assert hours(override) == pytest.approx(hours(), rel=0.01)


def test_phases_with_an_automatic_micro_batch_are_projected() -> None:
    phases = "phases=[{sequences: 16}, {from_steps: 500, sequences: 64}]"
    assert hours("batch.micro_sequences=auto", phases) > hours()


def test_a_length_that_only_a_corpus_knows_is_not_guessed() -> None:
    epochs = ["schedule.max_steps=null", "schedule.max_epochs=2", "schedule.warmup_steps=0"]
    assert hours("batch.micro_sequences=auto", *epochs) is None


@pytest.mark.parametrize("field", ["data.store", "tokenizer.path"])
def test_what_is_named_and_not_there_is_one_line(field: str) -> None:
    with pytest.raises(InputError, match="/nowhere"):
        hours(f"{field}=/nowhere")


def test_a_grid_of_automatic_runs_is_listed(tmp_path) -> None:
    ablation = load_config(AblationConfig, "ablations/masking", [f"run_dir={tmp_path}"])
    grid = Grid(replace(ablation.at("tiny"), tasks=[], tune={"batch.micro_sequences": ["auto", 8]}))
    lines = estimate.dry_run(grid.distinct_runs()).splitlines()
    assert [line for line in lines if "auto" in line and " ? " not in line]
    assert not any(tmp_path.iterdir())


def test_what_is_done_sets_the_pace_of_the_others(tmp_path, monkeypatch) -> None:
    long = {"long": {"schedule.max_steps": 24}}
    grid = make_grid(tmp_path, axes={"length": {"short": {}, **long}}, seeds=[0])
    finish(find(grid, "short"))
    monkeypatch.setattr(estimate, "minutes_of", lambda run: 6.0)
    lines = estimate.dry_run(grid.distinct_runs()).splitlines()
    hours = {line.split(",")[0]: line.split()[-2] for line in lines if "seed0" in line}
    assert hours == {"short": "0.10", "long": "0.30"}
    assert any("as of those that are done" in line for line in lines)


def test_a_trial_replaces_the_share_of_the_peak_that_is_assumed(monkeypatch) -> None:
    config = load_config(PretrainConfig, "small", ["model.layers=1", "engine.precision=fp32"])
    fast = Hardware(Device("CPU", 1e9, 1e6, 1, 1, "cpu"), 1, 1, "fp32", Ring(0, 1), False, 0.6)
    memory, _ = plan_memory(config, fast)
    assert trial.trial_sequences(memory, fast) == 0 and trial.measured_mfu(memory, fast) is None
    fast = replace(fast, device=replace(fast.device, peak=1e12))
    monkeypatch.setattr(trial, "LONGEST", 0.002)
    assert 1 <= trial.trial_sequences(memory, fast) < config.batch.micro_sequences
    clock = iter(range(100))
    monkeypatch.setattr(trial, "perf_counter", lambda: 2.0 * next(clock))
    share = trial.measured_mfu(memory, fast)
    number = trial.trial_sequences(memory, fast)
    model = memory.config
    flops = step_flops(replace(model, batch=replace(model.batch, sequences=number)), 8192, None)
    assert share == pytest.approx(flops / 2.0 / 1e12, rel=0.01)
    monkeypatch.setattr(estimate, "_hardware", lambda *_: fast)
    assert estimate.projected_hours(config, is_tried=True) == pytest.approx(
        estimate.projected_hours(config, is_tried=False) * 0.6 / share
    )
