"""An ablation's runs as an array of SLURM jobs."""

from __future__ import annotations

from configs.checks import require
from configs.system.run_lock import is_taken
from launch.ablation.grid import Grid
from launch.slurm.folders import queued_job
from launch.slurm.jobs import read_cluster, submit_commands
from launch.slurm.scheduler import require_slurm


def submit(grid: Grid, cluster: str, only_failed: bool) -> str:
    """Queue all runs that can be started now and are not in the queue; returns what is told of it.

    The tasks of an encoder, and what waits for a tuned value, can be queued by the same command
    once the array is done.

    Raises:
        InputError: there is nothing to queue, or no SLURM.
    """
    profile = read_cluster(cluster)
    require_slurm()
    runs = [run for run in grid.ready_runs() if run.status or not only_failed]
    runs = [r for r in runs if queued_job(r.run_dir) is None and not is_taken(r.run_dir)]
    require(bool(runs), f"{grid.folder}: no run can be queued now: see --dry-run, or wait")
    name = f"{grid.folder.parent.name}-{grid.config.scale}"
    return submit_commands([run.command for run in runs], name, profile)
