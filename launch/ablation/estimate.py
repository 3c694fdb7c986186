"""How long the runs of a grid take: measured where some are done, else projected, by their pace."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Literal

from configs.schema import DataConfig, EngineConfig, PrecisionName, PretrainConfig
from configs.system.run_lock import is_taken
from configs.system.safe_text import visible
from launch.ablation.grid import GridRun
from launch.slurm.folders import is_waiting

if TYPE_CHECKING:
    from launch.diagnosis.gpus import Hardware


def dry_run(runs: list[GridRun]) -> str:
    """A line for each run with its state and hours, and where the hours are from."""
    measured = measured_hours(runs)
    recipes = {kind_of(r): r.config for r in runs if isinstance(r.config, PretrainConfig)}
    pace = pace_of(recipes, measured)
    projected = {
        kind: (pace or 1.0) * alone
        for kind, recipe in recipes.items()
        if kind not in measured and (alone := projected_hours(recipe, is_tried=pace is None))
    }
    hours = {**projected, **measured}
    left = [kind_of(run) for run in runs if not run.is_completed]
    lines = [f"{'run':<48}{'state':<14}{'hours':>8}  run folder"]
    for run in runs:
        said = f"{hours[kind_of(run)]:.2f}" if kind_of(run) in hours else "?"
        state, folder = state_of(run), visible(run.run_dir)
        lines.append(f"{visible(run.name):<48}{state:<14}{said:>8}  {folder}")
    known = [hours[kind] for kind in left if kind in hours]
    lines += ["", f"{sum(known):.2f} hours of training are left, one run after the other"]
    if measured:
        lines.append("hours: the median of this ablation's completed runs of the same kind")
    if projected and pace:
        lines.append(f"hours of other rows: projected, times {pace:.2f} as of those that are done")
    elif projected:
        lines.append(
            "hours: projected by a short trial of each recipe on this machine; start-up and "
            "evaluations are left out"
        )
    if len(known) < len(left):
        lines.append(f"{len(left) - len(known)} runs are not counted: none like them is done yet")
    return "\n".join(lines)


def state_of(run: GridRun) -> str:
    """The word in its status, or what the status cannot know."""
    if run.is_completed:
        return "completed"
    if is_taken(run.run_dir):
        return "running"
    if is_waiting(run.run_dir):
        return "queued"  # also after the loss of its node, which could not change the status
    return "broken off" if run.status == "running" else run.status or "to do"


def kind_of(run: GridRun) -> str:
    """Runs of one kind last equally long: a row's pretraining, a task, a method."""
    if run.task:
        return f"{run.method or 'encoder'} {run.task}"
    return run.row


def measured_hours(runs: list[GridRun]) -> dict[str, float]:
    """The median of each kind's completed runs, by `kind_of`."""
    minutes: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.is_completed:
            minutes[kind_of(run)].append(minutes_of(run))
    return {kind: median(values) / 60 for kind, values in minutes.items()}


def minutes_of(run: GridRun) -> float:
    """From each start of a run to its last sign of life before the next."""
    times = [record["time"] for record in run.folder.read_metrics()]
    status = run.status_folder.status
    if status.is_file():
        times.append(status.stat().st_mtime)
    # A run that was killed leaves no end: what it last wrote stands for it. The time until the next
    # start, in a queue perhaps, is none of the run's.
    starts = [start["time"] for start in run.status_folder.earlier_starts()]
    ends = [*starts[1:], float("inf")]
    lasts = [
        max((time for time in times if start <= time < end), default=start)
        for start, end in zip(starts, ends)
    ]
    seconds: float = sum(last - start for start, last in zip(starts, lasts))
    return seconds / 60


def pace_of(recipes: dict[str, PretrainConfig], measured: dict[str, float]) -> float | None:
    """Measured by projected hours of what is done, the median; None where nothing is."""
    done = {
        kind: projected_hours(recipes[kind], is_tried=False) for kind in measured if kind in recipes
    }
    paces = [measured[kind] / hours for kind, hours in done.items() if hours]
    return median(paces) if paces else None


def projected_hours(config: PretrainConfig, is_tried: bool) -> float | None:
    """By the model's arithmetic and this machine's measured peak; None where length is unknown.

    Args:
        is_tried: ask a short trial which share of the peak is reached, where doctor would assume
            one.
    """
    from launch.diagnosis.examine import plan_memory
    from launch.diagnosis.projection import Data, duration_of, project
    from launch.diagnosis.trial import measured_mfu

    hardware = _hardware(config.engine.precision, config.data.cache)
    memory, _ = plan_memory(config, hardware)
    if is_tried and (mfu := measured_mfu(memory, hardware)):
        hardware = replace(hardware, mfu=mfu)
    data = Data.without_corpus(memory.config)
    projections = [project(phase, memory, hardware) for phase in data.phases]
    steps = data.total_steps(config)
    return duration_of(projections, steps, config.schedule.max_minutes)[1]


@cache
def _hardware(precision: Literal["auto"] | PrecisionName, folder: str) -> Hardware:
    """This machine, whose peak is measured once."""
    from launch.diagnosis.examine import hardware_here

    return hardware_here(
        PretrainConfig(data=DataConfig(cache=folder), engine=EngineConfig(precision)), None, None
    )
