"""What each row of an ablation is: its fields, and the recipe that they make."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

from configs.ablation_schema import AblationConfig, DownstreamConfig
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import flat, load_config
from configs.schema import PretrainConfig

RECIPE = "recipe"
"""what a choice may name beside fields: the pretraining configuration to begin with"""
FINETUNE = "finetune."
"""begins the names of fields that belong to the tasks"""

Settings = dict[str, Any]
"""fields with dots in their names"""
Schema = TypeVar("Schema", PretrainConfig, FinetuneConfig)


def settings_of_rows(config: AblationConfig) -> dict[str, Settings]:
    """The rows that pretrain, in order, and the fields that make each."""
    if config.cumulative:
        (choices,) = config.axes.values()
        return _cumulated(choices, config.apart)
    combinations = product(*(choices.values() for choices in config.axes.values()))
    return {
        name: {key: value for own in choices for key, value in flat(own).items()}
        for name, choices in zip(config.rows(), combinations)
    }


def _cumulated(choices: dict[str, Settings], apart: list[str]) -> dict[str, Settings]:
    rows: dict[str, Settings] = {}
    so_far: Settings = {}
    for choice, own in choices.items():
        if choice in apart:
            rows[choice] = flat(own)
        else:
            rows[choice] = so_far = {**so_far, **flat(own)}
    return rows


def recipe_of(
    config: AblationConfig, row: str, fields: Settings, tuned: Settings
) -> PretrainConfig:
    """A row's pretraining, seed and folder left open; `InputError` for fields that do not fit."""
    own = {k: v for k, v in fields.items() if k != RECIPE and not k.startswith(FINETUNE)}
    name = fields.get(RECIPE, config.recipe)
    recipe = _load(PretrainConfig, name, row, {**config.fields, **own, **tuned})
    return replace(recipe, seed=0, run_dir="")


def task_of(task: DownstreamConfig, row: str, fields: Settings) -> FinetuneConfig:
    """A row's fine-tuning, encoder and folder left open; `InputError` as above."""
    own = {k.removeprefix(FINETUNE): v for k, v in fields.items() if k.startswith(FINETUNE)}
    seeds = {} if task.seeds is None else {"seeds": task.seeds}
    return _load(FinetuneConfig, task.config, row, {**flat(task.fields), **own, **seeds})


def _load(schema: type[Schema], name: str, row: str, fields: Settings) -> Schema:
    try:
        return load_config(schema, name, values=fields)
    except InputError as error:
        raise InputError(f"row '{row}': {error}") from error
