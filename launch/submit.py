"""Queue a run on SLURM: `python launch/submit.py --config roberta_base --cluster mine.yaml`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

if not __package__:  # a script's own folder would hide the package of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from pretrain.ranks.leaving import LEAVING

    LEAVING.listen()

from configs.checks import require
from configs.cluster_schema import ClusterConfig
from configs.loader import dump_config, load_config
from configs.schema import PretrainConfig
from configs.system.files import write_text
from configs.system.safe_text import visible
from launch.command import fields_help, run
from launch.slurm.folders import note_job, pending, require_idle, write_config, write_job
from launch.slurm.grid import SCHEMAS, Command, choose, ranges, read_commands, words_of
from launch.slurm.render import Job, render
from launch.slurm.scheduler import require_slurm, sbatch

PREFIX = "cluster."


def main() -> None:
    """Check everything, then print the script or submit it."""
    arguments = parse()
    own = [word for word in arguments.overrides if not word.startswith(PREFIX)]
    ours = [word.removeprefix(PREFIX) for word in arguments.overrides if word.startswith(PREFIX)]
    cluster = load_config(
        ClusterConfig, arguments.cluster, ours, option="--cluster", folder="clusters"
    )
    check_site(cluster)
    submit: Callable = {"commands": submit_grid, "prepare": submit_preparation}.get(
        arguments.job, submit_run
    )
    submit(arguments, own, cluster)


def parse() -> argparse.Namespace:
    """The command line; `InputError` where its options do not go together."""
    parser = argparse.ArgumentParser(
        prog="submit.py",
        description="Queue a run on a SLURM cluster.",
        epilog=fields_help(ClusterConfig, PREFIX),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="NAME|PATH",
        help="of the run; for --job commands: a file of launch commands, one a line",
    )
    add("--cluster", required=True, metavar="NAME|PATH", help="profile: default, example-h100, ...")
    jobs = ("pretrain", "finetune", "prepare", "commands")
    add("--job", choices=jobs, default="pretrain", help="what to run (default: pretrain)")
    add("--only", choices=["failed"], help="of the commands, those that are not completed")
    add("--dry-run", action="store_true", help="print the script, write and submit nothing")
    add("--print-config", action="store_true", help="print profile and configuration, and stop")
    text = "fields of the run; with `cluster.` in front, of the profile, listed below"
    add("overrides", nargs="*", metavar="key=value", help=text)
    arguments = parser.parse_intermixed_args()
    require(
        not arguments.only or arguments.job == "commands",
        f"--only {arguments.only} says nothing to a single run: it is for --job commands",
    )
    return arguments


def check_site(cluster: ClusterConfig) -> None:
    """Raise `InputError` for a profile that names a file which is not there."""
    site = cluster.site_environment
    require(
        not site or Path(site).is_file(),
        f"cluster: site_environment={site}: no such file here: give its path from this folder",
    )


def submit_run(arguments: argparse.Namespace, own: list[str], cluster: ClusterConfig) -> None:
    """One pretraining or fine-tuning run."""
    kind = arguments.job
    config = load_config(SCHEMAS[kind], arguments.config, own)
    print_and_stop(arguments, cluster, config)
    folder = Path(config.run_dir).absolute()
    variables = {"RUN_DIR": str(folder)}
    job = Job(kind, f"{kind}-{folder.name}", folder, [str(folder / "job.yaml")], variables)
    script = render(job, cluster)
    if arguments.dry_run:
        print(script, end="")
        return
    require_slurm()
    require_idle(folder)
    write_job(job, script)
    write_config(folder, config)
    with pending([folder]):
        number = sbatch(job.script)
    note_job(folder, number)
    tell(job, number)


def submit_preparation(
    arguments: argparse.Namespace, own: list[str], cluster: ClusterConfig
) -> None:
    """An array over shards, and a job that merges them when all are done."""
    config = load_config(PretrainConfig, arguments.config, own)
    print_and_stop(arguments, cluster, config)
    run_dir, shards = Path(config.run_dir).absolute(), cluster.prepare.shards
    folder = run_dir / "prepare"
    array = Job(
        template="prepare",
        name=f"prepare-{run_dir.name}",
        folder=folder,
        arguments=[str(folder / "job.yaml")],
        variables={"SHARDS": str(shards)},
        array=f"0-{shards - 1}",
    )
    merge = replace(array, name=f"merge-{run_dir.name}", array=None)
    cluster = cluster.for_preparation()
    scripts = [render(job, cluster) for job in (array, merge)]
    if arguments.dry_run:
        print(*scripts, sep="\n", end="")
        return
    require_slurm()
    require_idle(folder)
    write_config(folder, config)
    for job, script in zip((array, merge), scripts):
        write_job(job, script)
    number = sbatch(array.script)
    note_job(folder, number)
    last = sbatch(merge.script, f"--dependency=afterok:{number}", "--kill-on-invalid-dep=yes")
    note_job(folder, f"{number},{last}")
    tell(array, number)
    tell(merge, last)


def submit_grid(arguments: argparse.Namespace, own: list[str], cluster: ClusterConfig) -> None:
    """An array whose elements each run one line of a file of commands."""
    path = Path(arguments.config)
    require(not own, f"'{own and own[0]}': commands have fields of their own: write it in {path}")
    commands = read_commands(path)
    print_and_stop(arguments, cluster, *[command.config for command in commands])
    submit_commands(commands, path.stem, cluster, arguments.only, arguments.dry_run)


def submit_commands(
    commands: list[Command],
    name: str,
    cluster: ClusterConfig,
    only: str | None = None,
    dry_run: bool = False,
) -> None:
    """An array whose elements each run one command; what it leaves is in `runs/<name>.grid`."""
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
        print(script, end="")
        return
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
    tell(job, array)


def print_and_stop(arguments: argparse.Namespace, *configs: Any) -> None:
    """For --print-config."""
    if arguments.print_config:
        print(*[dump_config(config) for config in configs], sep="\n", end="")
        raise SystemExit(0)


def tell(job: Job, number: str) -> None:
    """Say which job it became, and how to follow it."""
    log = job.log(number)
    elements = f", elements {job.array}" if job.array else ""
    print(f"job      {number}  {visible(job.name)}{elements}")
    print(f"log      {log}")
    print(f"watch    squeue --jobs={number}; tail -F {shlex.quote(str(log.parent))}/{log.name}")
    print(f"cancel   scancel {number}")


if __name__ == "__main__":
    run(main)
