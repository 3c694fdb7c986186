"""From an ablation to its cells, each an ordinary run folder.

<run_dir>/<scale>/<row>/seed<k>/                      a pretraining run
<run_dir>/<scale>/<row>/<field>=<value>/seed<k>/      where a field is tuned for each row
<run_dir>/<scale>/<row>/.../seed<k>/tasks/<task>/     its encoder, fine-tuned
<run_dir>/<scale>/rivals/<method>/<task>/             a classical method
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.ablation_schema import FINETUNE, RECIPE, AblationConfig, DownstreamConfig, slug
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import flat, load_config
from configs.run_status import read_status
from configs.schema import PretrainConfig
from launch.slurm.grid import Command
from pretrain.engine.log import read_metrics

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
        tuned = "" if self.value is None else f", {self.value}"
        task = f", {self.config.task.name}" if self.command.kind == "finetune" else ""
        return f"{self.row}{tuned}, seed {self.seed}{task}"


@dataclass(frozen=True)
class Grid:
    """All cells of an ablation at one scale."""

    config: AblationConfig
    """as `AblationConfig.at` returns it"""
    _recipes: dict[tuple, Any] = field(default_factory=dict, repr=False)

    @property
    def folder(self) -> Path:
        return Path(self.config.run_dir) / self.config.scale

    @property
    def baseline(self) -> str:
        return self.config.baseline or next(iter(self.rows))

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows that pretrain, and the fields that make each, with dots."""
        if self.config.cumulative:
            return _cumulated(*self.config.axes.values(), self.config.apart)
        rows: dict[str, dict[str, Any]] = {"": {}}
        for choices in self.config.axes.values():
            rows = {
                f"{name}, {choice}".removeprefix(", "): {**fields, **flat(own)}
                for name, fields in rows.items()
                for choice, own in choices.items()
            }
        return rows

    @property
    def tuned(self) -> tuple[str | None, list[Any]]:
        """(the field that is tuned for each row, its values)."""
        return next(iter(self.config.tune.items()), (None, [None]))

    def cells(self) -> list[Cell]:
        """All of them, as far as is known by now; runs of equal recipes share a folder.

        Where a row's value is not chosen yet, its other cells stand with the first value and wait
        for all candidates.
        """
        owners: dict[str, Path] = {}
        found: list[Cell] = []
        for seed in self.config.seeds:
            for row in self.rows:
                trained = self._pretraining(row, seed, owners)
                found += trained
                found += self._finetuning(row, seed, trained, owners)
        return found + [
            self._rival(method, task) for method in self.config.rivals for task in self.config.tasks
        ]

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
        chosen = {row: self.chosen(row, {}) for row in self.rows}
        return [
            cell
            for cell in self.cells()
            if cell.method or (chosen[cell.row] and cell.value == chosen[cell.row].value)
        ]

    def chosen(self, row: str, owners: dict[str, Path]) -> Cell | None:
        """The row's run on the first seed; of several candidates, once all are completed, the best."""
        candidates = self._candidates(row, owners)
        if len(candidates) > 1 and not all(cell.is_completed for cell in candidates):
            return None
        return min(candidates, key=lambda cell: heldout_loss(cell.run_dir))

    def _candidates(self, row: str, owners: dict[str, Path]) -> list[Cell]:
        first = self.config.seeds[0]
        return [self._pretrain(row, first, value, owners) for value in self.tuned[1]]

    def _pretraining(self, row: str, seed: int, owners: dict[str, Path]) -> list[Cell]:
        candidates = self._candidates(row, owners)
        if seed == self.config.seeds[0]:
            return candidates
        chosen = self.chosen(row, owners) or candidates[0]
        after = [cell.run_dir for cell in candidates] if len(candidates) > 1 else []
        return [self._pretrain(row, seed, chosen.value, owners, after)]

    def _pretrain(
        self,
        row: str,
        seed: int,
        value: Any,
        owners: dict[str, Path],
        after: Sequence[Path] = (),
    ) -> Cell:
        recipe = replace(self._recipe(row, value), seed=seed, run_dir="")
        own = self._folder(row, seed, value)
        config = replace(recipe, run_dir=str(owners.setdefault(repr(recipe), own)))
        return Cell(row, seed, Command("pretrain", config), tuple(after), value)

    def _folder(self, row: str, seed: int, value: Any) -> Path:
        name = (self.tuned[0] or "").rpartition(".")[2]
        tuned = slug(f"{name}={value}") if value is not None else ""
        return self.folder / slug(row) / tuned / f"seed{seed}"

    def _finetuning(
        self, row: str, seed: int, trained: list[Cell], owners: dict[str, Path]
    ) -> list[Cell]:
        """The row's tasks: on the first seed they wait for all candidates, as other seeds do."""
        chosen = self.chosen(row, owners)
        value = chosen.value if chosen else trained[0].value
        (encoder,) = [cell for cell in trained if cell.value == value]
        after = (*(cell.run_dir for cell in trained), *encoder.after)
        own = self._folder(row, seed, value)
        fields = _of_tasks(self.rows[row])
        return [
            self._finetune(row, seed, task, own / "tasks", fields, after, encoder)
            for task in self.config.tasks
        ]

    def _finetune(
        self,
        row: str,
        seed: int,
        task: DownstreamConfig,
        folder: Path,
        fields: dict[str, Any],
        after: tuple[Path, ...],
        encoder: Cell,
    ) -> Cell:
        config = self._task(task, row, fields)
        run_dir = str(folder / slug(config.task.name))
        config = replace(config, run_dir=run_dir, model=str(encoder.run_dir))
        command, columns = Command("finetune", config), tuple(task.metrics)
        return Cell(row, seed, command, after, encoder.value, columns=columns)

    def _rival(self, method: str, task: DownstreamConfig) -> Cell:
        config = self._task(task, method, {})
        run_dir = self.folder / "rivals" / slug(method) / slug(config.task.name)
        config = replace(config, run_dir=str(run_dir), model=method)
        command, columns = Command("finetune", config), tuple(task.metrics)
        return Cell(method, self.config.seeds[0], command, method=method, columns=columns)

    def _recipe(self, row: str, value: Any) -> PretrainConfig:
        """The row's recipe, seed and folder left open."""
        if (row, value) not in self._recipes:
            settings = dict(self.rows[row])
            name = settings.pop(RECIPE, self.config.recipe)
            own = {key: v for key, v in settings.items() if not key.startswith(FINETUNE)}
            tuned = {} if value is None else {self.tuned[0]: value}
            fields = {**self.config.fields, **own, **tuned}
            self._recipes[row, value] = _load(PretrainConfig, name, row, fields)
        return self._recipes[row, value]

    def _task(self, task: DownstreamConfig, row: str, fields: dict[str, Any]) -> FinetuneConfig:
        key = (task.config, repr(task.fields), row)
        if key not in self._recipes:
            own = {**flat(task.fields), **fields}
            if task.seeds is not None:
                own["seeds"] = task.seeds
            self._recipes[key] = _load(FinetuneConfig, task.config, row, own)
        return self._recipes[key]


def heldout_loss(run_dir: Path) -> float:
    """The last held-out MLM loss of a run; infinite where there is none."""
    return last_record(run_dir, "heldout").get("mlm_loss", float("inf"))


def last_record(run_dir: Path, kind: str) -> dict[str, Any]:
    """The last record of this kind in metrics.jsonl; empty where there is none."""
    found = [r for r in read_metrics(run_dir / "metrics.jsonl") if r["kind"] == kind]
    return found[-1] if found else {}


def _cumulated(choices: dict[str, dict[str, Any]], apart: list[str]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    so_far: dict[str, Any] = {}
    for choice, own in choices.items():
        if choice not in apart:
            so_far = {**so_far, **flat(own)}
        rows[choice] = flat(own) if choice in apart else so_far
    return rows


def _of_tasks(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that belong to fine-tuning."""
    return {
        key.removeprefix(FINETUNE): value
        for key, value in settings.items()
        if key.startswith(FINETUNE)
    }


def _load(schema: type, name: str, row: str, fields: dict[str, Any]) -> Any:
    try:
        return load_config(schema, name, values=fields)
    except InputError as error:
        raise InputError(f"row '{row}': {error}") from error
