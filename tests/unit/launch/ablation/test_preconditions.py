"""What a person types for all runs reaches them, or is refused; and files that a task needs."""

from __future__ import annotations

import pytest

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.loader import load_config
from launch.ablation.grid import Grid
from launch.ablation.preconditions import require_effect, require_examples
from tests.unit.launch.ablation.example_runs import find, finish_task, make_grid


def check(*overrides: str, scale: str = "tiny") -> Grid:
    config = load_config(AblationConfig, "ablations/masking", list(overrides))
    grid = Grid(config.at(scale))
    require_effect(list(overrides), config, grid)
    return grid


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("fields.batch.micro_sequences=8", "scales.tiny.fields.batch.micro_sequences"),
        ("fields={batch: {micro_sequences: 8}}", "scales.tiny.fields.batch.micro_sequences"),
        ("fields.schedule.max_tokens=8", "scales.tiny.fields.schedule.max_tokens"),
        ("fields.mask_epochs=2", "every row sets it"),
    ],
)
def test_what_would_be_overridden_is_refused(override: str, cure: str) -> None:
    with pytest.raises(InputError, match=f"has no effect: .*{cure}"):
        check(override)


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("fields.masking.probability=0.2", "masking.probability", 0.2),
        ("scales.tiny.fields.batch.micro_sequences=8", "batch.micro_sequences", 8),
        ("scales.tiny.fields.schedule.max_tokens=2_000_000", "schedule.max_tokens", 2_000_000),
    ],
)
def test_what_has_an_effect_is_not(override: str, field: str, value: object) -> None:
    for recipe in check(override).recipes.values():
        section, name = field.split(".")
        assert getattr(getattr(recipe, section), name) == value


def test_sources_of_all_runs_keep_the_weight_of_the_scale() -> None:
    grid = check("fields.data.sources=[{kind: jsonl, path: x.jsonl}]")
    for recipe in grid.recipes.values():
        (source,) = recipe.data.sources
        assert (source.path, source.weight) == ("x.jsonl", 0.2)


def test_at_another_scale_the_same_may_have_an_effect() -> None:
    assert check("fields.batch.micro_sequences=8", scale="paper")


def test_files_of_a_task_are_missed_before_anything_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    grid = make_grid(tmp_path, seeds=[0], tasks=[{"config": "finetune/sst2.yaml"}])
    with pytest.raises(InputError, match=r"train.tsv: no such file.* scales\.tiny\.tasks=\[\]"):
        require_examples(grid)
    for row in grid.rows:
        finish_task(find(grid, row, task="sst2"))
    require_examples(grid)
