"""A table refuses to lie: its runs differ in the studied axis and in nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NoReturn

from configs.errors import InputError
from configs.loader import flat, load_run_config
from configs.schema import FREE_TO_CHANGE
from launch.ablation.grid import GridRun, in_precision
from launch.slurm.command_file import RunConfig
from pretrain.run.plateau import Plateau

SAME_BUDGET = 0.02
"""share by which tokens may differ, if one step is not more: a run ends with a whole one"""
WEIGHTY = ("data", "tokenizer", "evaluation", "engine", "schedule")
"""sections that a run may change when it resumes, but not against the runs beside it"""
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
FACTS_OF_MINUTES = ("machine", "device", "processor")
"""the same, where a run ends by the clock: minutes of another machine are another budget"""


@dataclass(frozen=True)
class Outcome:
    """A run of the grid and what it left in its folder."""

    run: GridRun

    @cached_property
    def config(self) -> RunConfig:
        """The configuration that it ran with; where the ablation asks for a precision, with that
        which `auto` became. Where both leave it open the facts decide."""
        asked, folder = self.run.config, self.run.status_folder
        config = load_run_config(type(asked), folder.path)
        precision = folder.recorded_precision()
        if not precision or asked.engine.precision == "auto":
            return config
        return in_precision(config, precision)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Those of `FACTS`, by name; None for what it did not say."""
        environment = self.run.status_folder.read_environment()
        known = {
            **environment,
            "torch": environment.get("packages", {}).get("torch"),
            "processor": environment.get("agreed", {}).get("processor"),
        }
        timed = FACTS_OF_MINUTES if self.is_timed else ()
        return {name: known.get(name) for name in (*FACTS, *timed)}

    @property
    def is_timed(self) -> bool:
        """Whether a pretraining run ends by the clock: its budget is minutes, not tokens."""
        return not self.run.task and self.config.schedule.max_minutes is not None

    @cached_property
    def tokens(self) -> float | None:
        """That it learnt from; None for a task."""
        return self.run.folder.last_record("train").get("tokens")

    @cached_property
    def plateau(self) -> Plateau | None:
        """Of a completed pretraining run; None where there is none, or it did not say."""
        if self.run.task or not self.run.is_completed:
            return None
        return Plateau.of(self.run.folder.read_metrics())

    @cached_property
    def shortage(self) -> float | None:
        """Share of its planned tokens or steps that it did not see, where that is not a trifle."""
        schedule = self.config.schedule
        planned = schedule.max_tokens or schedule.max_steps
        if self.run.task or not planned:
            return None
        last = self.run.folder.last_record("train")
        share: float = 1 - last.get("tokens" if schedule.max_tokens else "step", 0) / planned
        return share if share > SAME_BUDGET else None


def require_same_recipe(outcome: Outcome) -> None:
    """Raise `InputError` where the folder holds a run of another recipe than the grid's."""
    run = outcome.run
    if not run.status_folder.config.is_file():
        return
    for name, (there, asked) in differences(outcome.config, run.config).items():
        raise InputError(
            f"{run.run_dir}: its run has {name}={there}, but the ablation asks for {asked}: "
            "choose another run_dir, or remove that folder to train it anew"
        )


def require_comparable(outcomes: list[Outcome], baseline: str) -> None:
    """Raise `InputError` for the first run that differs in what the ablation does not study.

    Each run is held against the first of its row, and that against the first of the baseline.
    """
    firsts: dict[str, Outcome] = {}
    for outcome in outcomes:
        firsts.setdefault(outcome.run.row, outcome)
    for outcome in outcomes:
        require_same_recipe(outcome)
        first = firsts[outcome.run.row]
        reference = firsts.get(baseline, next(iter(firsts.values())))
        _compare(outcome, reference if outcome is first else first)


def differences(ours: RunConfig, theirs: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Field -> both values, of two configurations, where it matters."""
    left, right = flat(asdict(ours)), flat(asdict(theirs))
    return {
        name: (left.get(name), right.get(name))
        for name in {**left, **right}
        if left.get(name) != right.get(name) and not _is_free(name)
    }


def marks(outcome: Outcome) -> list[str]:
    """What a reader must know of a run, apart from its figures."""
    run = outcome.run
    place = f"seed {run.seed}, {run.task}" if run.task else f"seed {run.seed}"
    if not run.is_completed:
        return [f"{place}: not finished ({run.status or 'not started'})"]
    texts = []
    if outcome.shortage:
        texts.append(f"undertrained ({1 - outcome.shortage:.0%} of what was planned)")
    skipped = run.folder.last_record("skipped").get("total")
    if skipped:
        texts.append(f"{skipped} steps skipped")
    if outcome.plateau is not None and outcome.plateau.ends_on_it:
        texts.append(outcome.plateau.end)
    versions = _code_versions(run)
    if len(versions) > 1:
        texts.append(f"resumed with another code ({', '.join(versions)})")
    return [f"{place}: {text}" for text in texts]


def _compare(ours: Outcome, theirs: Outcome) -> None:
    """Raise `InputError` unless two runs differ in what they were meant to differ in."""
    studied = tuple(differences(ours.run.config, theirs.run.config))
    for name, values in differences(ours.config, theirs.config).items():
        if name not in studied:
            _refuse(name, values, ours, theirs)
    for name in [name for name in ours.facts if name in theirs.facts]:
        facts = ours.facts[name], theirs.facts[name]
        if facts[0] != facts[1] and not _follows(name, studied):
            _refuse(name, facts, ours, theirs)
    if _has_other_budget(ours, theirs, studied):
        _refuse("tokens", (f"{ours.tokens:,.0f}", f"{theirs.tokens:,.0f}"), ours, theirs)


def _follows(fact: str, studied: tuple[str, ...]) -> bool:
    """Whether a fact must change with what is studied: the vocabulary with the text it is from."""
    if fact == "precision":
        return "engine.precision" in studied
    if fact not in ("tokenizer", "corpus"):
        return False
    return any(name.startswith(("tokenizer.", "data.")) for name in studied)


def _has_other_budget(ours: Outcome, theirs: Outcome, studied: tuple[str, ...]) -> bool:
    """Undertrained runs are marked, not refused; passes over the data and minutes have no fixed
    tokens."""
    if ours.tokens is None or theirs.tokens is None or ours.shortage or theirs.shortage:
        return False
    if (
        ours.config.schedule.max_epochs
        or ours.is_timed
        or any(name.startswith("schedule.") for name in studied)
    ):
        return False
    step = max(o.config.batch.sequences * o.config.max_length for o in (ours, theirs))
    allowed: float = max(SAME_BUDGET * theirs.tokens, step)
    return abs(ours.tokens - theirs.tokens) > allowed


def _refuse(name: str, values: tuple[Any, Any], ours: Outcome, theirs: Outcome) -> NoReturn:
    raise InputError(
        f"{name} is {values[0]} in {ours.run.run_dir}, but {values[1]} in {theirs.run.run_dir}, "
        "and this ablation does not study it: remove the folder that is wrong and run the ablation "
        "again, or choose another run_dir"
    )


def _is_free(name: str) -> bool:
    inside = any(name.startswith(f"{section}.") for section in FREE)
    return inside or name in (*FREE, *FREE_IN_TASKS)


def _code_versions(run: GridRun) -> list[str]:
    """Fingerprints of the code that the run, since it last began, was made by."""
    versions: dict[str, None] = {}
    for start in run.status_folder.earlier_starts():
        if start["step"] == 0:
            versions.clear()
        versions[start["source"]] = None
    return list(versions)
