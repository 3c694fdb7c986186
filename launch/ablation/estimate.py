"""How long the cells of a grid take: measured where some are done, else projected."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from statistics import median
from typing import TYPE_CHECKING

from configs.run_status import read_environment
from configs.schema import EngineConfig, PretrainConfig
from launch.ablation.cells import Cell
from launch.ablation.locks import is_taken
from pretrain.engine.log import read_metrics

if TYPE_CHECKING:
    from pretrain.doctor.gpus import Target

Hours = dict[str, float]
"""name of a kind of cell, see `kind_of` -> hours"""


def dry_run(cells: list[Cell]) -> str:
    """A line for each cell with its state and hours, and where the hours are from."""
    measured = measured_hours(cells)
    projected: Hours = {}
    lines, total, unknown = [], 0.0, 0
    for cell in cells:
        hours = measured.get(kind_of(cell))
        if hours is None and not cell.task:
            hours = projected.setdefault(kind_of(cell), projected_hours(cell.config))
        state = state_of(cell)
        if state != "completed":
            total, unknown = total + (hours or 0), unknown + (hours is None)
        said = "?" if hours is None else f"{hours:.2f}"
        lines.append(f"{cell.name:<48}{state:<14}{said:>8}  {cell.run_dir}")
    head = f"{'cell':<48}{'state':<14}{'hours':>8}  run folder"
    return "\n".join([head, *lines, "", *_summary(total, unknown, measured, projected)])


def _summary(total: float, unknown: int, measured: Hours, projected: Hours) -> list[str]:
    lines = [f"{total:.2f} hours of training are left, one cell after the other"]
    if measured:
        lines.append("hours: the median of this ablation's completed cells of the same kind")
    if projected:
        lines.append("hours: as launch/doctor.py projects them for this machine, start-up left out")
    if unknown:
        lines.append(f"{unknown} fine-tuning cells are not counted: none of their kind is done yet")
    return lines


def state_of(cell: Cell) -> str:
    """The word in its status, or what the status cannot know."""
    if cell.is_completed:
        return "completed"
    if is_taken(cell.run_dir):
        return "running"
    return "broken off" if cell.status == "running" else cell.status or "to do"


def kind_of(cell: Cell) -> str:
    """Cells of one kind last equally long: a row's pretraining, a task, a method."""
    if cell.task:
        return f"{cell.method or 'encoder'} {cell.task}"
    return cell.row


def measured_hours(cells: list[Cell]) -> Hours:
    """The median of each kind's completed cells."""
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
    starts = [start["time"] for start in read_environment(cell.results).get("starts", [])]
    ends = [*starts[1:], float("inf")]
    lasts = [
        max((time for time in times if start <= time < end), default=start)
        for start, end in zip(starts, ends)
    ]
    return sum(last - start for start, last in zip(starts, lasts)) / 60


def projected_hours(config: PretrainConfig) -> float | None:
    """By the model's arithmetic and this machine's measured peak; None where length is unknown."""
    from pretrain.doctor.examine import vocabulary_size
    from pretrain.doctor.memory import MemoryModel
    from pretrain.doctor.projection import Data, duration_of, project

    target = _target(config.engine.precision)
    kind, framework = target.device.kind, target.device.framework
    memory = MemoryModel(config, vocabulary_size(config), kind, target.precision, framework, 1)
    data = Data.without_corpus(config)
    projections = [project(leg, memory, target) for leg in data.legs]
    steps = data.total_steps(config)
    return duration_of(projections, steps, config.schedule.max_minutes)[1]


@cache
def _target(precision: str) -> Target:
    """This machine, whose peak is measured once."""
    from pretrain.doctor.examine import target_here

    return target_here(PretrainConfig(engine=EngineConfig(precision)), None, None)
