"""A table refuses to lie: its runs differ in the studied axis and in nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

from configs.errors import InputError
from configs.loader import flat, load_run_config
from configs.schema import FREE_TO_CHANGE
from configs.system.run_status import earlier_starts, read_environment, recorded_precision
from launch.ablation.cells import Cell, last_record

SAME_BUDGET = 0.02
"""share by which tokens may differ, if one step is not more: a run ends with a whole one"""
WEIGHTY = ("data", "tokenizer", "evaluation", "engine", "schedule")
"""sections that a run may change when it goes on, but not against the runs beside it"""
FREE = (
    *(name for name in FREE_TO_CHANGE if name.split(".")[0] not in WEIGHTY),
    *("data.cache", "data.store", "data.piece_megabytes", "evaluation.every_steps"),
    *("engine.zero_stage", "engine.activation_checkpointing"),
)
"""fields and sections that decide nothing that a table shows"""
FREE_IN_TASKS = ("model", "seeds", "task.folder", "adapt.cache")
"""the same of fine-tuning, whose encoders and examples have fingerprints"""
FACTS = ("source", "torch", "precision", "tokenizer", "corpus", "examples")
"""what a run found out for itself, by its environment.json"""


@dataclass(frozen=True)
class Run:
    """A cell and what its run left behind."""

    cell: Cell

    @cached_property
    def config(self) -> Any:
        """The configuration that it ran with; where the cell asks for a precision, with that which
        `auto` became. Where both leave it open the facts decide."""
        asked, results = self.cell.config, self.cell.results
        config = load_run_config(type(asked), results)
        found = recorded_precision(results)
        if not found or asked.engine.precision == "auto" or config.engine.precision != "auto":
            return config
        return replace(config, engine=replace(config.engine, precision=found))

    @cached_property
    def facts(self) -> dict[str, Any]:
        environment = read_environment(self.cell.results)
        found = {**environment, "torch": environment.get("packages", {}).get("torch")}
        return {name: found.get(name) for name in FACTS}

    @cached_property
    def tokens(self) -> float | None:
        """That it learnt from; None for a task."""
        return last_record(self.cell.run_dir, "train").get("tokens")

    @cached_property
    def shortage(self) -> float | None:
        """Share of its planned tokens or steps that it did not see, where that is not a trifle."""
        schedule = self.config.schedule
        planned = schedule.max_tokens or schedule.max_steps
        if self.cell.task or not planned:
            return None
        last = last_record(self.cell.run_dir, "train")
        share = 1 - last.get("tokens" if schedule.max_tokens else "step", 0) / planned
        return share if share > SAME_BUDGET else None


def require_same_recipe(run: Run) -> None:
    """Raise `InputError` where the cell's folder holds a run of another recipe than the grid's."""
    if not (run.cell.results / "config.yaml").is_file():
        return
    for name, (found, asked) in differences(run.config, run.cell.config).items():
        raise InputError(
            f"{run.cell.run_dir}: its run has {name}={found}, but the ablation asks for {asked}: "
            "choose another run_dir, or remove that folder to train it anew"
        )


def require_comparable(runs: list[Run], baseline: str) -> None:
    """Raise `InputError` for the first run that differs in what the ablation does not study.

    Each run is held against the first of its row, and that against the first of the baseline.
    """
    firsts: dict[str, Run] = {}
    for run in runs:
        firsts.setdefault(run.cell.row, run)
    reference = firsts.get(baseline) or next(iter(firsts.values()), None)
    for run in runs:
        require_same_recipe(run)
        first = firsts[run.cell.row]
        _compare(run, reference if run is first else first)


def differences(ours: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    """Field -> both values, of two configurations, where it matters."""
    left, right = flat(asdict(ours)), flat(asdict(theirs))
    return {
        name: (left.get(name), right.get(name))
        for name in {**left, **right}
        if left.get(name) != right.get(name) and not _is_free(name)
    }


def marks(run: Run) -> list[str]:
    """What a reader must know of a run, apart from its figures."""
    cell = run.cell
    if not cell.is_completed:
        return [f"{_place(cell)}: not finished ({cell.status or 'not started'})"]
    found = []
    if run.shortage:
        found.append(f"undertrained ({1 - run.shortage:.0%} of what was planned)")
    skipped = last_record(cell.run_dir, "skipped").get("total")
    if skipped:
        found.append(f"{skipped} steps skipped")
    if len(_sources(cell)) > 1:
        found.append(f"resumed with another code ({', '.join(_sources(cell))})")
    return [f"{_place(cell)}: {text}" for text in found]


def _compare(run: Run, reference: Run) -> None:
    """Raise `InputError` unless two runs differ in what their cells were meant to differ in."""
    studied = tuple(differences(run.cell.config, reference.cell.config))
    for name, (ours, theirs) in differences(run.config, reference.config).items():
        if name not in studied:
            _refuse(name, ours, theirs, run, reference)
    for name in FACTS:
        ours, theirs = run.facts[name], reference.facts[name]
        if ours != theirs and not _follows(name, studied):
            _refuse(name, ours, theirs, run, reference)
    if _has_other_budget(run, reference, studied):
        _refuse("tokens", f"{run.tokens:,.0f}", f"{reference.tokens:,.0f}", run, reference)


def _follows(fact: str, studied: tuple[str, ...]) -> bool:
    """Whether a fact must change with what is studied: the vocabulary with the text it is from."""
    if fact == "precision":
        return "engine.precision" in studied
    if fact not in ("tokenizer", "corpus"):
        return False
    return any(name.startswith(("tokenizer.", "data.")) for name in studied)


def _has_other_budget(run: Run, reference: Run, studied: tuple[str, ...]) -> bool:
    """Undertrained runs are marked, not refused; passes over the data have no fixed tokens."""
    if None in (run.tokens, reference.tokens) or run.shortage or reference.shortage:
        return False
    if run.config.schedule.max_epochs or any(name.startswith("schedule.") for name in studied):
        return False
    step = max(r.config.batch.sequences * r.config.max_length for r in (run, reference))
    return abs(run.tokens - reference.tokens) > max(SAME_BUDGET * reference.tokens, step)


def _refuse(name: str, ours: Any, theirs: Any, run: Run, reference: Run) -> NoReturn:
    raise InputError(
        f"{name} is {ours} in {run.cell.run_dir}, but {theirs} in {reference.cell.run_dir}, and "
        "this ablation does not study it: remove the folder that is wrong and run the ablation "
        "again, or choose another run_dir"
    )


def _is_free(name: str) -> bool:
    inside = any(name.startswith(f"{section}.") for section in FREE)
    return inside or name in (*FREE, *FREE_IN_TASKS)


def _sources(cell: Cell) -> list[str]:
    """Fingerprints of the code that the run, since it last began, was made by."""
    sources: dict[str, None] = {}
    for start in earlier_starts(cell.results):
        if start["step"] == 0:
            sources.clear()
        sources[start["source"]] = None
    return list(sources)


def _place(cell: Cell) -> str:
    return f"seed {cell.seed}, {cell.task}" if cell.task else f"seed {cell.seed}"
