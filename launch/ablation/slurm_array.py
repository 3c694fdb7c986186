"""An ablation's cells as an array of SLURM jobs."""

from __future__ import annotations

import logging

from configs.checks import require
from configs.system.run_lock import is_taken
from launch.ablation.cells import Grid
from launch.slurm.folders import queued_job
from launch.slurm.scheduler import require_slurm
from launch.slurm.submission import read_cluster, submit_commands

logger = logging.getLogger(__name__)


def submit(grid: Grid, cluster: str, only: str | None) -> None:
    """Queue all cells that can be started now and are not in the queue.

    The tasks of an encoder, and what waits for a tuned value, can be queued by the same command
    once the array is done.

    Raises:
        InputError: there is nothing to queue, or no SLURM.
    """
    profile = read_cluster(cluster)
    require_slurm()
    cells = [cell for cell in grid.ready() if not only or cell.status]
    cells = [c for c in cells if queued_job(c.run_dir) is None and not is_taken(c.run_dir)]
    require(bool(cells), f"{grid.folder}: no cell can be queued now: see --dry-run, or wait")
    name = f"{grid.folder.parent.name}-{grid.config.scale}"
    told = submit_commands([cell.command for cell in cells], name, profile)
    logger.info(told.rstrip())
