"""From an ablation to its cells, each an ordinary run folder.

<run_dir>/<scale>/<row>/seed<k>/                      a pretraining run
<run_dir>/<scale>/<row>/<field>=<value>/seed<k>/      where a field is tuned for each row
<run_dir>/<scale>/<row>/.../seed<k>/tasks/<task>/     its encoder, fine-tuned
<run_dir>/<scale>/rivals/<method>/<task>/             a classical method
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.ablation_schema import AblationConfig, slug
from configs.checks import require
from configs.system.run_status import read_status
from launch.ablation.rows import recipe_of, settings_of_rows, task_of
from launch.slurm.grid import Command
from pretrain.run.log import read_metrics

RIVALS = "classical"
"""folder in which a fine-tuning run keeps what its classical methods leave behind"""


@dataclass(frozen=True)
class Cell:
    """One run of one row."""

    row: str
    seed: int
    command: Command
    after: tuple[Path, ...] = ()
    """run folders that must be completed before"""
    value: Any = None
    """of the tuned field"""
    method: str | None = None
    """a classical method in place of an encoder"""
    columns: tuple[str, ...] = ()
    """of a task: dev scores that are shown; empty: the one that it chooses by"""

    @property
    def config(self) -> Any:
        return self.command.config

    @property
    def run_dir(self) -> Path:
        return self.command.run_dir

    @property
    def task(self) -> str | None:
        """Name of the task; None for pretraining."""
        return self.config.task.name if self.command.kind == "finetune" else None

    @property
    def results(self) -> Path:
        """Where its status and its environment are."""
        return self.run_dir / RIVALS if self.method else self.run_dir

    @property
    def status(self) -> str | None:
        return read_status(self.results)

    @property
    def is_completed(self) -> bool:
        return self.status == "completed"

    @property
    def name(self) -> str:
        """For lines that people read."""
        tuned = None if self.value is None else str(self.value)
        return ", ".join(filter(None, (self.row, tuned, f"seed {self.seed}", self.task)))


class Grid:
    """All cells of an ablation at one scale. Every recipe is checked as the grid is made."""

    def __init__(self, config: AblationConfig, precision: str = "auto") -> None:
        """`config` as `AblationConfig.at` returns it; `precision` is what `auto` becomes in every
        cell; `InputError` for a row that cannot be."""
        self.config, self.rows = config, settings_of_rows(config)
        self.folder = Path(config.run_dir) / config.scale
        self.baseline = config.baseline or next(iter(self.rows))
        self.field, self.values = next(iter(config.tune.items()), (None, [None]))
        self.recipes = {
            (row, value): _in_precision(
                recipe_of(config, row, fields, {self.field: value} if self.field else {}), precision
            )
            for row, fields in self.rows.items()
            for value in self.values
        }
        settings = {**self.rows, **{method: {} for method in config.rivals}}
        self.tasks = {
            row: [_in_precision(task_of(task, row, fields), precision) for task in config.tasks]
            for row, fields in settings.items()
        }
        _require_different("rows", [slug(row) for row in settings])
        for tasks in self.tasks.values():
            _require_different("tasks", [slug(task.task.name) for task in tasks])

    def cells(self) -> list[Cell]:
        """All cells, as far as is known by now; rows of equal recipes share their pretraining.

        Where a row's value is not chosen yet, its other cells stand with the first value and wait
        for all candidates.
        """
        found: list[Cell] = []
        for seed in self.config.seeds:
            for row in self.rows:
                found += self._pretraining(row, seed)
                found += self._finetuning(row, seed)
        return found + [cell for method in self.config.rivals for cell in self._rival(method)]

    def distinct(self) -> list[Cell]:
        """As `cells`, each run folder once."""
        found: dict[Path, Cell] = {}
        for cell in self.cells():
            found.setdefault(cell.run_dir, cell)
        return list(found.values())

    def ready(self) -> list[Cell]:
        """The cells that are not completed but whose predecessors are."""
        cells = self.distinct()
        done = {cell.run_dir for cell in cells if cell.is_completed}
        return [c for c in cells if c.run_dir not in done and done.issuperset(c.after)]

    def measured(self) -> list[Cell]:
        """The cells that stand in the table: of what was tuned, the chosen ones."""
        settled = {row: self.value(row) for row in self.rows if self.is_settled(row)}
        return [
            cell
            for cell in self.cells()
            if cell.method or (cell.row in settled and cell.value == settled[cell.row])
        ]

    def candidates(self, row: str) -> list[Cell]:
        """The row on the first seed, with each value of the tuned field."""
        return [self._pretrain(row, self.config.seeds[0], value) for value in self.values]

    def is_settled(self, row: str) -> bool:
        """Whether the row's value is chosen, or there is nothing to choose."""
        return len(self.values) == 1 or all(cell.is_completed for cell in self.candidates(row))

    def value(self, row: str) -> Any:
        """What the tuned field is for a row: the best by held-out loss; the first until then."""
        if len(self.values) == 1 or not self.is_settled(row):
            return self.values[0]
        return min(self.candidates(row), key=lambda cell: heldout_loss(cell.run_dir)).value

    def _pretraining(self, row: str, seed: int) -> list[Cell]:
        if seed == self.config.seeds[0]:
            return self.candidates(row)
        return [replace(self._pretrain(row, seed, self.value(row)), after=self._before(row))]

    def _before(self, row: str) -> tuple[Path, ...]:
        """What the choice of a row's value waits for."""
        return tuple(c.run_dir for c in self.candidates(row)) if len(self.values) > 1 else ()

    def _pretrain(self, row: str, seed: int, value: Any) -> Cell:
        recipe = self.recipes[row, value]
        owner = next(other for other in self.rows if self.recipes[other, value] == recipe)
        config = replace(recipe, seed=seed, run_dir=str(self._folder(owner, seed, value)))
        return Cell(row, seed, Command("pretrain", config), value=value)

    def _folder(self, row: str, seed: int, value: Any) -> Path:
        tuned = f"{self.field.rpartition('.')[2]}={value}" if self.field else ""
        return self.folder / slug(row) / slug(tuned) / f"seed{seed}"

    def _finetuning(self, row: str, seed: int) -> list[Cell]:
        value = self.value(row)
        encoder = self._pretrain(row, seed, value).run_dir
        after = (*self._before(row), encoder)
        return [
            Cell(
                row,
                seed,
                Command("finetune", replace(task, model=str(encoder), run_dir=str(run_dir))),
                after,
                value,
                columns=tuple(wish.metrics),
            )
            for task, wish in zip(self.tasks[row], self.config.tasks)
            for run_dir in [self._folder(row, seed, value) / "tasks" / slug(task.task.name)]
        ]

    def _rival(self, method: str) -> list[Cell]:
        return [
            Cell(
                method,
                self.config.seeds[0],
                Command("finetune", replace(task, model=method, run_dir=str(run_dir))),
                method=method,
                columns=tuple(wish.metrics),
            )
            for task, wish in zip(self.tasks[method], self.config.tasks)
            for run_dir in [self.folder / "rivals" / slug(method) / slug(task.task.name)]
        ]


def heldout_loss(run_dir: Path) -> float:
    """The last held-out MLM loss of a run; infinite where there is none."""
    return last_record(run_dir, "heldout").get("mlm_loss", float("inf"))


def last_record(run_dir: Path, kind: str) -> dict[str, Any]:
    """The last record of this kind in metrics.jsonl; empty where there is none."""
    found = [r for r in read_metrics(run_dir / "metrics.jsonl") if r["kind"] == kind]
    return found[-1] if found else {}


def _in_precision(config: Any, precision: str) -> Any:
    """A recipe or task with `precision` in place of `auto`."""
    if config.engine.precision != "auto":
        return config
    return replace(config, engine=replace(config.engine, precision=precision))


def _require_different(what: str, names: list[str]) -> None:
    """Names become folders; one without a letter or digit would be no folder, or that above."""
    empty = [name for name in names if not re.search(r"\w", name)]
    require(not empty, f"{what}: a name has no letter or digit: rename it")
    twice = [name for name in names if names.count(name) > 1]
    require(not twice, f"{what}: two would have the folder '{twice and twice[0]}': rename one")
