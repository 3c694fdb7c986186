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
from configs.system.files import write_text
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
from launch.slurm.render import Job, render


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
    script = render(job, cluster)
    if dry_run:
        return script
    require_slurm()
    require_idle(folder)
    write_job(job, script)
    write_config(folder, config)
    with pending([folder]):
        number = sbatch(job.script)
    note_job(folder, number)
    return _told(job, number)


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
    scripts = [render(job, cluster.for_preparation()) for job in (array, merge)]
    if dry_run:
        return "\n".join(scripts)
    require_slurm()
    require_idle(folder)
    write_config(folder, config)
    for job, script in zip((array, merge), scripts):
        write_job(job, script)
    number = sbatch(array.script)
    note_job(folder, number)
    last = sbatch(merge.script, f"--dependency=afterok:{number}", "--kill-on-invalid-dep=yes")
    note_job(folder, f"{number},{last}")
    return _told(array, number) + _told(merge, last)


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
    words = folder / "commands"
    job = Job(
        template="ablate",
        name=f"ablate-{name}",
        folder=folder,
        arguments=[],
        named_by="--config",
        variables={"WORDS": str(words)},
        array=ranges(chosen),
    )
    script = render(job, cluster)
    if dry_run:
        return script
    require_slurm()
    for run_dir in [folder, *chosen.values()]:
        require_idle(run_dir)
    write_job(job, script)
    write_text(words, words_of(commands))
    for number, run_dir in chosen.items():
        write_config(run_dir, commands[number - 1].config)
    with pending(list(chosen.values())):
        array = sbatch(job.script)
    note_job(folder, array)
    for number, run_dir in chosen.items():
        note_job(run_dir, f"{array}_{number}")
    return _told(job, array)


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
