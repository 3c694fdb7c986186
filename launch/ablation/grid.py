"""The grid of an ablation: every row with every seed, as runs.

<run_dir>/<scale>/<row>/seed<k>/                      a pretraining run
<run_dir>/<scale>/<row>/<field>=<value>/seed<k>/      where a field is tuned for each row
<run_dir>/<scale>/<row>/.../seed<k>/tasks/<task>/     its encoder, fine-tuned
<run_dir>/<scale>/rivals/<method>/<task>/             a classical method
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, Union, cast

from configs.ablation_schema import AblationConfig, DownstreamConfig, slug
from configs.checks import require
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import flat, load_config
from configs.schema import PrecisionName, PretrainConfig
from configs.system.run_folder import RunFolder
from launch.ablation.budget import with_budget
from launch.slurm.command_file import Command, RunConfig

CLASSICAL = "classical"
"""folder in which a fine-tuning run keeps what its classical methods leave behind"""
RECIPE = "recipe"
"""what a choice may name beside fields: the pretraining configuration to begin with"""
FINETUNE = "finetune."
"""begins the names of fields that belong to the tasks"""

Settings = dict[str, Any]
"""fields with dots in their names"""
Config = TypeVar("Config", bound=RunConfig)
TunedValue = Union[int, float, str, None]
"""None where nothing is tuned"""


@dataclass(frozen=True)
class GridRun:
    """One run of one row: a pretraining, a fine-tuning, or a classical method on a task."""

    row: str
    seed: int
    """of pretraining"""
    command: Command
    after: tuple[Path, ...] = ()
    """run folders that must be completed before"""
    tuned_value: TunedValue = None
    """of the field that is tuned for each row"""
    method: str | None = None
    """a classical method in place of an encoder"""
    metrics: tuple[str, ...] = ()
    """of a task: dev scores that are shown; empty: the one that it chooses by"""

    @property
    def config(self) -> RunConfig:
        """The configuration that the ablation asks for."""
        return self.command.config

    @property
    def run_dir(self) -> Path:
        """Its folder."""
        return self.command.run_dir

    @property
    def task(self) -> str | None:
        """Name of the task; None for pretraining."""
        return self.config.task.name if isinstance(self.config, FinetuneConfig) else None

    @property
    def folder(self) -> RunFolder:
        """The same as a run folder."""
        return RunFolder(self.run_dir)

    @property
    def status_folder(self) -> RunFolder:
        """The folder that has its status and its environment."""
        return RunFolder(self.run_dir / CLASSICAL) if self.method else self.folder

    @property
    def status(self) -> str | None:
        """The word in its status; None where it was not started."""
        return self.status_folder.read_status()

    @property
    def is_completed(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.status == "completed"

    @property
    def name(self) -> str:
        """For lines that people read."""
        tuned = None if self.tuned_value is None else str(self.tuned_value)
        return ", ".join(filter(None, (self.row, tuned, f"seed {self.seed}", self.task)))


class Grid:
    """All runs of an ablation at one scale. Every recipe is checked as the grid is made."""

    def __init__(
        self, config: AblationConfig, precision: str = "auto", makes_stores: bool = False
    ) -> None:
        """`config` as `AblationConfig.at` returns it; `precision` is what `auto` becomes in every
        run; `makes_stores` where a budget in bytes may make what it counts; `InputError` for a row
        that cannot be."""
        self.config, self.rows = config, settings_of_rows(config)
        self.precision, self.makes_stores = precision, makes_stores
        self.folder = Path(config.run_dir) / config.scale
        self.baseline = config.baseline or next(iter(self.rows))
        self.tuned_field: str | None = next(iter(config.tune), None)
        self.tuned_values: list[TunedValue] = [None]
        if self.tuned_field:
            self.tuned_values = config.tune[self.tuned_field]
        self.recipes: dict[tuple[str, TunedValue], PretrainConfig] = {}
        for row in self.rows:
            for value in self.tuned_values:
                self.recipe(row, value)
        settings = {**self.rows, **{method: {} for method in config.rivals}}
        self.tasks = {
            row: [in_precision(task_of(task, row, fields), precision) for task in config.tasks]
            for row, fields in settings.items()
        }
        _require_different("rows", [slug(row) for row in settings])
        for tasks in self.tasks.values():
            _require_different("tasks", [slug(task.task.name) for task in tasks])

    def recipe(self, row: str, value: TunedValue) -> PretrainConfig:
        """A row's pretraining with one value of the tuned field, and with the row's budget."""
        if (row, value) not in self.recipes:
            recipe, budget = self._unlimited(row, value), self.config.budget
            if budget.of != "recipe":
                baseline = self._unlimited(self.baseline, value)
                recipe = with_budget(recipe, budget, baseline, self.makes_stores)
            self.recipes[row, value] = in_precision(recipe, self.precision)
        return self.recipes[row, value]

    def chosen_recipe(self, row: str) -> PretrainConfig:
        """A row's pretraining with its chosen value, or with the first until one is chosen."""
        return self.recipe(row, self.tuned_value(row))

    def _unlimited(self, row: str, value: TunedValue) -> PretrainConfig:
        """As `recipe`, with its own schedule."""
        tuned = {self.tuned_field: value} if self.tuned_field else {}
        return recipe_of(self.config, row, self.rows[row], tuned)

    def runs(self) -> list[GridRun]:
        """All runs, as far as is known by now; rows of equal recipes share their pretraining.

        Where a row's value is not chosen yet, its other runs stand with the first value and wait
        for all candidates.
        """
        runs: list[GridRun] = []
        for seed in self.config.seeds:
            for row in self.rows:
                runs += self._pretraining_runs(row, seed)
                runs += self._finetuning_runs(row, seed)
        return runs + [run for method in self.config.rivals for run in self._rival_runs(method)]

    def distinct_runs(self) -> list[GridRun]:
        """As `runs`, each run folder once."""
        by_folder: dict[Path, GridRun] = {}
        for run in self.runs():
            by_folder.setdefault(run.run_dir, run)
        return list(by_folder.values())

    def ready_runs(self) -> list[GridRun]:
        """The runs that are not completed but whose predecessors are."""
        runs = self.distinct_runs()
        done = {run.run_dir for run in runs if run.is_completed}
        return [run for run in runs if run.run_dir not in done and done.issuperset(run.after)]

    def table_runs(self) -> list[GridRun]:
        """The runs that the table shows: of what was tuned, those with the chosen value."""
        settled = {row: self.tuned_value(row) for row in self.rows if self.is_settled(row)}
        return [
            run
            for run in self.runs()
            if run.method or (run.row in settled and run.tuned_value == settled[run.row])
        ]

    def candidates(self, row: str) -> list[GridRun]:
        """The row on the first seed, with each value of the tuned field, added ones among them."""
        runs = [self._pretraining(row, self.config.seeds[0], v) for v in self.tuned_values]
        for _ in range(self.config.tune_growth if self.config.tune_edge == "grow" else 0):
            edge = edge_of(runs)
            if edge is None or not all(run.is_completed for run in runs):
                break
            number, is_largest = edge
            factor = self.config.tune_factor if is_largest else 1 / self.config.tune_factor
            grown = float(f"{number * factor:.6g}")
            runs.append(self._pretraining(row, self.config.seeds[0], grown))
        return runs

    def beyond(self, row: str) -> str:
        """What is said of a row whose best value is the least or the largest that it tried; empty
        where it is not, or nothing is chosen yet."""
        edge = edge_of(self.candidates(row)) if self.is_settled(row) else None
        if edge is None:
            return ""
        number, is_largest = edge
        grows = "raise tune_growth" if self.config.tune_edge == "grow" else "set tune_edge=grow"
        return (
            f"{number:g}, the {'largest' if is_largest else 'least'} that was tried, is its best "
            f"{self.tuned_field}: extend tune.{self.tuned_field}, or {grows}"
        )

    def is_settled(self, row: str) -> bool:
        """Whether the row's value is chosen, or there is nothing to choose."""
        return len(self.tuned_values) == 1 or all(r.is_completed for r in self.candidates(row))

    def tuned_value(self, row: str) -> TunedValue:
        """What the tuned field is for a row: the best by held-out loss; the first until then."""
        if len(self.tuned_values) == 1 or not self.is_settled(row):
            return self.tuned_values[0]
        return min(self.candidates(row), key=heldout_loss).tuned_value

    def _pretraining_runs(self, row: str, seed: int) -> list[GridRun]:
        if seed == self.config.seeds[0]:
            return self.candidates(row)
        run = self._pretraining(row, seed, self.tuned_value(row))
        return [replace(run, after=self._before_choice(row))]

    def _before_choice(self, row: str) -> tuple[Path, ...]:
        """What the choice of a row's value waits for."""
        return tuple(r.run_dir for r in self.candidates(row)) if len(self.tuned_values) > 1 else ()

    def _pretraining(self, row: str, seed: int, value: TunedValue) -> GridRun:
        recipe = self.recipe(row, value)
        owner = next(other for other in self.rows if self.recipe(other, value) == recipe)
        config = replace(recipe, seed=seed, run_dir=str(self._folder(owner, seed, value)))
        return GridRun(row, seed, Command("pretrain", config), tuned_value=value)

    def _folder(self, row: str, seed: int, value: TunedValue) -> Path:
        tuned = f"{self.tuned_field.rpartition('.')[2]}={value}" if self.tuned_field else ""
        return self.folder / slug(row) / slug(tuned) / f"seed{seed}"

    def _finetuning_runs(self, row: str, seed: int) -> list[GridRun]:
        value = self.tuned_value(row)
        encoder = self._pretraining(row, seed, value).run_dir
        after = (*self._before_choice(row), encoder)
        return [
            GridRun(row, seed, command, after, value, metrics=metrics)
            for command, metrics in self._task_commands(
                row, str(encoder), self._folder(row, seed, value) / "tasks"
            )
        ]

    def _rival_runs(self, method: str) -> list[GridRun]:
        folder = self.folder / "rivals" / slug(method)
        return [
            GridRun(method, self.config.seeds[0], command, method=method, metrics=metrics)
            for command, metrics in self._task_commands(method, method, folder)
        ]

    def _task_commands(
        self, row: str, model: str, folder: Path
    ) -> Iterator[tuple[Command, tuple[str, ...]]]:
        """(what fine-tunes `model`, the scores that are shown) for each task."""
        for task, wish in zip(self.tasks[row], self.config.tasks):
            run_dir = str(folder / slug(task.task.name))
            config = replace(task, model=model, run_dir=run_dir)
            yield Command("finetune", config), tuple(wish.metrics)


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


def _load(schema: type[Config], name: str, row: str, fields: Settings) -> Config:
    try:
        return load_config(schema, name, values=fields)
    except InputError as error:
        raise InputError(f"row '{row}': {error}") from error


def edge_of(candidates: list[GridRun]) -> tuple[float, bool] | None:
    """(the best number, whether it is the largest) where it is the least or the largest; None where
    numbers lie on both sides of it, or it is none."""
    values = [run.tuned_value for run in candidates]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < max(2, len(values)):
        return None
    best = min(candidates, key=heldout_loss).tuned_value
    assert isinstance(best, (int, float))
    return (best, best == max(numbers)) if best in (min(numbers), max(numbers)) else None


def heldout_loss(run: GridRun) -> float:
    """The last held-out MLM loss of a run; infinite where there is none."""
    loss: float = run.folder.last_record("heldout").get("mlm_loss", float("inf"))
    return loss


def in_precision(config: Config, precision: str) -> Config:
    """A recipe or task with `precision` in place of `auto`."""
    if config.engine.precision != "auto":
        return config
    known = cast(PrecisionName, precision)  # from a run's own environment
    return replace(config, engine=replace(config.engine, precision=known))


def _require_different(what: str, names: list[str]) -> None:
    """Names become folders; one without a letter or digit would be no folder, or that above."""
    empty = [name for name in names if not re.search(r"\w", name)]
    require(not empty, f"{what}: a name has no letter or digit: rename it")
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, f"{what}: two would have the folder '{twice}': rename one")
