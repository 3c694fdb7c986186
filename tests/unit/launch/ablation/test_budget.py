"""Equal budgets: tokens, FLOPs, minutes, bytes of text."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import PretrainConfig
from launch.ablation import budget
from launch.ablation.compute import Work, steps_for, with_limit
from launch.diagnosis.projection import step_flops
from tests.unit.launch.ablation.example_runs import find, make_grid

SIZES = {"model": {"narrow": {}, "wide": {"model": {"hidden_size": 512, "heads": 8}}}}
PHASES = [
    {"max_length": 32, "sequences": 64},
    {"from_fraction": 0.5, "max_length": 128, "sequences": 16},
]


def recipe(**fields) -> PretrainConfig:
    return load_config(PretrainConfig, "small", values={"schedule.max_steps": 100, **fields})


def spent(config: PretrainConfig) -> float:
    tokens = budget.planned_tokens(config)
    assert tokens
    return budget.planned_flops(config, tokens)


def test_flops_are_those_of_the_steps():
    config = recipe()
    one = step_flops(config.resolved(), config.tokenizer.vocabulary_size, None)
    assert spent(config) == pytest.approx(100 * one)
    assert steps_for(config, config.tokenizer.vocabulary_size, 100 * one) == 100
    assert steps_for(config, config.tokenizer.vocabulary_size, 100.9 * one) == 100


def test_phases_have_their_own_price():
    config = recipe(phases=PHASES)
    work = Work.of(config, 8192)
    assert work.steps.tolist() == [0, 50] and work.step_tokens.tolist() == [2048, 2048]
    assert work.step_flops[0] < work.step_flops[1]
    half, whole = work.flops_at(np.array([50 * 2048.0, 100 * 2048.0]))
    assert half == pytest.approx(50 * work.step_flops[0])
    assert whole - half == pytest.approx(50 * work.step_flops[1])
    assert steps_for(config, 8192, 3 * whole) == pytest.approx(300, abs=1)


def test_rows_of_equal_flops_train_for_other_numbers_of_steps(tmp_path):
    grid = make_grid(tmp_path, axes=SIZES, budget={"of": "flops"})
    narrow, wide = (grid.chosen_recipe(row) for row in SIZES["model"])
    assert narrow.schedule.max_steps == 8 and wide.schedule.max_steps < 6
    bigger = make_grid(tmp_path, axes=SIZES, budget={"of": "flops", "amount": 1e15})
    narrow, wide = (bigger.chosen_recipe(row) for row in SIZES["model"])
    assert spent(narrow) == pytest.approx(1e15, rel=0.01)
    assert spent(wide) == pytest.approx(1e15, rel=0.02)


def test_tokens_minutes_and_bytes(tmp_path, monkeypatch):
    grid = make_grid(tmp_path, budget={"of": "tokens", "amount": 5e5})
    schedule = with_limit(recipe(), max_tokens=500_000).schedule
    assert find(grid, "dynamic").config.schedule == schedule
    grid = make_grid(tmp_path, budget={"of": "minutes", "amount": 1.5})
    assert find(grid, "dynamic").config.schedule.max_minutes == 1.5
    texts = {8192: 4.0, 2048: 2.0}

    def corpus(config):
        size = config.tokenizer.vocabulary_size
        return SimpleNamespace(
            train=SimpleNamespace(text_bytes=1000 * texts[size], token_count=1000)
        )

    monkeypatch.setattr("launch.diagnosis.dry_run.find_corpus", corpus)
    rows = {"large": {}, "little": {"tokenizer.vocabulary_size": 2048}}
    grid = make_grid(tmp_path, axes={"vocabulary": rows}, budget={"of": "bytes"})
    large, little = (grid.chosen_recipe(row).schedule.max_tokens for row in rows)
    eight_steps = budget.planned_tokens(recipe(**{"schedule.max_steps": 8}))
    assert (large, little) == (eight_steps, 2 * eight_steps)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"budget": {"of": "minutes"}}, "budget.amount is missing, .* no schedule.max_minutes"),
        ({"budget": {"amount": 3}}, "budget.amount=3.0 of what"),
        ({"budget": {"of": "tokens", "amount": -1}}, "must be above 0"),
        ({"budget": {"of": "bytes"}}, "budget.of=bytes counts the text of a store"),
    ],
)
def test_a_budget_that_nobody_knows_is_refused(tmp_path, monkeypatch, fields, said):
    monkeypatch.setattr("launch.diagnosis.dry_run.find_corpus", lambda config: None)
    with pytest.raises(InputError, match=said) as error:
        make_grid(tmp_path, **fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "equal tokens"),
        ({"budget": {"of": "flops"}}, "equal FLOPs"),
        ({"axes": {"length": {"a": {}, "b": {"schedule.max_steps": 9}}}}, "unequal budgets"),
        ({"fields": {"schedule.max_minutes": 2, "schedule.max_steps": None}}, "equal minutes"),
        ({"fields": {"schedule.max_epochs": 2, "schedule.max_steps": None}}, "equal passes"),
    ],
)
def test_a_table_says_what_is_equal(tmp_path, fields, said):
    grid = make_grid(tmp_path, **fields)
    assert budget.describe(grid.config.budget, map(grid.chosen_recipe, grid.rows)) == said
