"""Queue a run on SLURM: `python launch/submit.py --config roberta_base --cluster mine.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.checks import require
from configs.cluster_schema import ClusterConfig
from configs.errors import InputError
from configs.loader import dump_config, load_config
from configs.schema import PretrainConfig
from launch.command import fields_help, run
from launch.slurm.command_file import SCHEMAS, RunConfig, read_commands
from launch.slurm.jobs import read_cluster, submit_commands, submit_preparation, submit_run

PREFIX = "cluster."


def main() -> None:
    """Check everything, then print the script or submit it."""
    arguments = parse()
    own = [word for word in arguments.overrides if not word.startswith(PREFIX)]
    ours = [word.removeprefix(PREFIX) for word in arguments.overrides if word.startswith(PREFIX)]
    cluster, job, path = read_cluster(arguments.cluster, ours), arguments.job, arguments.config
    submit: Callable[..., str]
    configs: list[RunConfig]
    if job == "commands":
        if own:
            cure = f"commands have fields of their own: write it in {path}"
            raise InputError(f"'{own[0]}': {cure}")
        commands = read_commands(Path(path))
        configs = [command.config for command in commands]
        submit = partial(submit_commands, commands, Path(path).stem, only=arguments.only)
    elif job == "prepare":
        corpus = load_config(PretrainConfig, path, own)
        configs, submit = [corpus], partial(submit_preparation, corpus)
    else:
        config = load_config(SCHEMAS[job], path, own)
        configs, submit = [config], partial(submit_run, job, config)
    if arguments.print_config:
        print(*map(dump_config, (cluster, *configs)), sep="\n", end="")
    else:
        print(submit(cluster=cluster, dry_run=arguments.dry_run), end="")


def parse() -> argparse.Namespace:
    """The command line; `InputError` where its options do not go together."""
    parser = argparse.ArgumentParser(
        prog="submit.py",
        description="Queue a run on a SLURM cluster.",
        epilog=fields_help(ClusterConfig, PREFIX),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    text = "of the run; for --job commands: a file of launch commands, one a line"
    add("--config", required=True, metavar="NAME|PATH", help=text)
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
        f"--only {arguments.only} has no meaning for a single run: it is for --job commands",
    )
    return arguments


if __name__ == "__main__":
    run(main)
