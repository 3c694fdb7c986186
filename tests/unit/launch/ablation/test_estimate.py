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
from launch.diagnosis.examine import hardware_with_gpus


@pytest.fixture(autouse=True)
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose peak need not be measured."""

    def hardware(precision: str, cache: str):
        config = load_config(PretrainConfig, "small", [f"engine.precision={precision}"])
        return hardware_with_gpus(config, "h100", 1, 8, None, None)

    monkeypatch.setattr(estimate, "_hardware", hardware)


def hours(*overrides: str) -> float | None:
    return estimate.projected_hours(load_config(PretrainConfig, "small", list(overrides)))


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
