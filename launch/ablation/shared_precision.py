"""One precision for all runs of an ablation whose recipes leave it to `auto`."""

from __future__ import annotations

import logging

from configs.finetune_schema import FinetuneConfig
from launch.ablation.grid import Grid, GridRun

logger = logging.getLogger(__name__)


def with_shared_precision(grid: Grid, jobs: int, measures: bool) -> Grid:
    """The grid with what `auto` became in the runs that were begun, or is on this machine.

    Each run would choose for itself otherwise, some on another machine or with other threads, and
    the table would refuse what it compares.

    Args:
        jobs: runs at a time, which share the cores.
        measures: this machine may be asked; not where the runs are trained elsewhere, or not now.
    """
    runs = [run for run in grid.distinct_runs() if _is_open(run)]
    if not runs:
        return grid
    recorded = filter(None, (run.status_folder.recorded_precision() for run in runs))
    precision, reason = next(recorded, None), "as in the runs that were begun"
    if precision is None and measures:
        precision, reason = _measured(runs[0], jobs)
    if precision is None:
        return grid
    logger.info(f"engine.precision=auto: {precision} in every run, {reason}")
    return Grid(grid.config, precision)


def _is_open(run: GridRun) -> bool:
    is_auto: bool = run.config.engine.precision == "auto"
    return is_auto and not run.method


def _measured(run: GridRun, jobs: int) -> tuple[str, str]:
    """(precision, why) of this machine, by as many threads as a run will have."""
    import torch

    from pretrain.engine.machine import threads
    from pretrain.engine.precision import choose_precision
    from pretrain.ranks.world import World, cores

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = run.config.adapt if isinstance(run.config, FinetuneConfig) else run.config.data
    with threads(max(1, cores() // jobs)):
        precision = choose_precision("auto", World(0, 1, device), config.cache)
    return precision.name, f"{precision.reason} ({precision.source})"
