"""What `sbatch` gets for a run, for the preparation of a corpus and for a grid of runs.

Each function checks everything before it writes or submits anything, and returns what a person is
told: which job it became, or, with `dry_run`, the scripts themselves; then it leaves no trace.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from configs.checks import require
from configs.cluster_schema import ClusterConfig
from configs.loader import load_config
from configs.schema import PretrainConfig
from configs.system.run_names import JOB_CONFIG
from configs.system.safe_text import visible
from launch.slurm.command_file import Command, RunConfig, choose, ranges, words_of
from launch.slurm.folders import (
    note_job,
    pending,
    require_idle,
    require_slurm,
    sbatch,
    write_config,
    write_job,
)
from launch.slurm.render import COMMANDS, Job, render


def read_cluster(name: str, overrides: Iterable[str] = ()) -> ClusterConfig:
    """The profile of a cluster; `InputError` where it names a file which is not there."""
    cluster = load_config(ClusterConfig, name, overrides)
    site = cluster.site_environment
    require(
        not site or Path(site).is_file(),
        f"cluster: site_environment={site}: no such file here: give its path from this folder",
    )
    return cluster


def submit_run(kind: str, config: RunConfig, cluster: ClusterConfig, dry_run: bool) -> str:
    """One run; `kind` is pretrain or finetune.

    Raises:
        InputError: no Slurm, a run at work in the folder, or what `render` refuses.
    """
    folder = Path(config.run_dir).absolute()
    variables = {"RUN_DIR": str(folder)}
    job = Job(kind, f"{kind}-{folder.name}", folder, [str(folder / JOB_CONFIG)], variables)
    return _submit([job], cluster, {folder: config}, {folder: ""}, dry_run)


def submit_preparation(config: PretrainConfig, cluster: ClusterConfig, dry_run: bool) -> str:
    """An array over shards, and a job that merges them when all are done; raises as `submit_run`.

    What they leave is in `<run_dir>/prepare`.
    """
    run_dir, shards = Path(config.run_dir).absolute(), cluster.prepare.shards
    folder = run_dir / "prepare"
    array = Job(
        template="prepare",
        name=f"prepare-{run_dir.name}",
        folder=folder,
        arguments=[str(folder / JOB_CONFIG)],
        variables={"SHARDS": str(shards)},
        array=f"0-{shards - 1}",
    )
    merge = replace(array, name=f"merge-{run_dir.name}", array=None)
    return _submit([array, merge], cluster.for_preparation(), {folder: config}, {}, dry_run)


def submit_commands(
    commands: list[Command],
    name: str,
    cluster: ClusterConfig,
    only: str | None = None,
    dry_run: bool = False,
) -> str:
    """An array whose elements each run one command; raises as `submit_run`.

    Args:
        name: of the grid: what the array leaves is in `runs/<name>.grid`.
        only: "failed" leaves out the commands whose runs are completed.
    """
    chosen = choose(commands, only)
    folder = Path("runs", f"{name}.grid").absolute()
    job = Job(
        template="ablate",
        name=f"ablate-{name}",
        folder=folder,
        arguments=[],
        named_by="--config",
        variables={"WORDS": str(folder / COMMANDS)},
        array=ranges(chosen),
        commands=words_of(commands),
    )
    configs = {run_dir: commands[number - 1].config for number, run_dir in chosen.items()}
    elements = {run_dir: f"_{number}" for number, run_dir in chosen.items()}
    return _submit([job], cluster, configs, elements, dry_run)


def _submit(
    jobs: list[Job],
    cluster: ClusterConfig,
    configs: dict[Path, RunConfig],
    runs: dict[Path, str],
    dry_run: bool,
) -> str:
    """Jobs of one folder, of which each waits until the one before has succeeded.

    Args:
        configs: what is written into which folders.
        runs: the run folders in which they train, with what makes the first job's number theirs.
    """
    scripts, folder = [render(job, cluster) for job in jobs], jobs[0].folder
    if dry_run:
        return "\n".join(scripts)
    require_slurm()
    for place in dict.fromkeys([folder, *configs]):
        require_idle(place)
    for job, script in zip(jobs, scripts):
        write_job(job, script)
    for place, config in configs.items():
        write_config(place, config)
    numbers: list[str] = []
    waits: list[str] = []
    for job in jobs:
        with pending(list(runs)):
            numbers.append(sbatch(job.script, *waits))
        waits = [f"--dependency=afterok:{numbers[-1]}", "--kill-on-invalid-dep=yes"]
        note_job(folder, ",".join(numbers))  # at once, as the next may be refused
    for run_dir, element in runs.items():
        note_job(run_dir, f"{numbers[0]}{element}")
    return "".join(map(_told, jobs, numbers))


def _told(job: Job, number: str) -> str:
    """Which job it became, and how to follow it."""
    log = job.log(number)
    elements = f", elements {job.array}" if job.array else ""
    return (
        f"job      {number}  {visible(job.name)}{elements}\n"
        f"log      {log}\n"
        f"watch    squeue --jobs={number}; tail -F {shlex.quote(str(log.parent))}/{log.name}\n"
        f"cancel   scancel {number}\n"
    )
