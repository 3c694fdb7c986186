"""How long the cells of a grid take: measured where some are done, else projected."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from statistics import median
from typing import TYPE_CHECKING

from configs.schema import DataConfig, EngineConfig, PretrainConfig
from configs.system.run_lock import is_taken
from configs.system.run_status import earlier_starts
from configs.system.safe_text import visible
from launch.ablation.cells import Cell
from launch.slurm.folders import is_waiting
from pretrain.run.log import read_metrics

if TYPE_CHECKING:
    from launch.diagnosis.gpus import Target


def dry_run(cells: list[Cell]) -> str:
    """A line for each cell with its state and hours, and where the hours are from."""
    measured = measured_hours(cells)
    others = {kind_of(c): c for c in cells if not c.task and kind_of(c) not in measured}
    projected = {kind: projected_hours(cell.config) for kind, cell in others.items()}
    hours = {kind: value for kind, value in {**projected, **measured}.items() if value is not None}
    left = [kind_of(cell) for cell in cells if not cell.is_completed]
    lines = [f"{'cell':<48}{'state':<14}{'hours':>8}  run folder"]
    for cell in cells:
        said = f"{hours[kind_of(cell)]:.2f}" if kind_of(cell) in hours else "?"
        state, folder = state_of(cell), visible(cell.run_dir)
        lines.append(f"{visible(cell.name):<48}{state:<14}{said:>8}  {folder}")
    known = [hours[kind] for kind in left if kind in hours]
    lines += ["", f"{sum(known):.2f} hours of training are left, one cell after the other"]
    if measured:
        lines.append("hours: the median of this ablation's completed cells of the same kind")
    if projected:
        lines.append("hours: as launch/doctor.py projects them for this machine, start-up left out")
    if len(known) < len(left):
        lines.append(f"{len(left) - len(known)} cells are not counted: none like them is done yet")
    return "\n".join(lines)


def state_of(cell: Cell) -> str:
    """The word in its status, or what the status cannot know."""
    if cell.is_completed:
        return "completed"
    if is_taken(cell.run_dir):
        return "running"
    if is_waiting(cell.run_dir):
        return "queued"  # also after the loss of its node, which could not change the status
    return "broken off" if cell.status == "running" else cell.status or "to do"


def kind_of(cell: Cell) -> str:
    """Cells of one kind last equally long: a row's pretraining, a task, a method."""
    if cell.task:
        return f"{cell.method or 'encoder'} {cell.task}"
    return cell.row


def measured_hours(cells: list[Cell]) -> dict[str, float]:
    """The median of each kind's completed cells, by `kind_of`."""
    minutes: dict[str, list[float]] = defaultdict(list)
    for cell in cells:
        if cell.is_completed:
            minutes[kind_of(cell)].append(minutes_of(cell))
    return {kind: median(values) / 60 for kind, values in minutes.items()}


def minutes_of(cell: Cell) -> float:
    """From each start of a run to its last sign of life before the next."""
    times = [record["time"] for record in read_metrics(cell.run_dir / "metrics.jsonl")]
    status = cell.results / "status"
    times += [status.stat().st_mtime] if status.is_file() else []
    starts = [start["time"] for start in earlier_starts(cell.results)]
    ends = [*starts[1:], float("inf")]
    lasts = [
        max((time for time in times if start <= time < end), default=start)
        for start, end in zip(starts, ends)
    ]
    return sum(last - start for start, last in zip(starts, lasts)) / 60


def projected_hours(config: PretrainConfig) -> float | None:
    """By the model's arithmetic and this machine's measured peak; None where length is unknown."""
    from launch.diagnosis.examine import plan_memory
    from launch.diagnosis.projection import Data, duration_of, project

    target = _target(config.engine.precision, config.data.cache)
    config, memory, _ = plan_memory(config, target)
    data = Data.without_corpus(config)
    projections = [project(phase, memory, target) for phase in data.phases]
    steps = data.total_steps(config)
    return duration_of(projections, steps, config.schedule.max_minutes)[1]


@cache
def _target(precision: str, folder: str) -> Target:
    """This machine, whose peak is measured once."""
    from launch.diagnosis.examine import target_here

    return target_here(
        PretrainConfig(data=DataConfig(cache=folder), engine=EngineConfig(precision)), None, None
    )
