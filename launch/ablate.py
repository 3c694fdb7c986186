"""Which choice mattered: `python launch/ablate.py --config ablations/masking.yaml`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin(hurries=False)

from configs.ablation_schema import AblationConfig
from configs.checks import require
from configs.errors import RunError
from configs.system.safe_text import visible
from launch.ablation.grid import Grid
from launch.ablation.preconditions import require_effect, with_shared_precision
from launch.ablation.report.further_seeds import with_seeds_needed
from launch.command import config_parser, read_config, require_at_least_1, run

PURPOSE = (
    "Train every run of an ablation that is not completed, fine-tune its encoders, and print the "
    "table. Type the same command again after any kind of end: it resumes."
)


def main() -> None:
    """Expand the grid, train its runs or queue them, and make the table."""
    arguments = parse()
    config = read_config(arguments, AblationConfig)
    if arguments.transfer:
        from launch.ablation.report.transfer import transfer

        print(transfer(Path(config.run_dir), arguments.transfer), end="")
        return
    is_trained_here = not (arguments.table or arguments.submit)
    makes_stores = is_trained_here and not arguments.dry_run
    grid = Grid(config.at(arguments.scale, arguments.seeds), makes_stores=makes_stores)
    require_effect(arguments.overrides, config, grid)
    grid = with_shared_precision(grid, arguments.jobs, measures=is_trained_here)
    grid = with_seeds_needed(grid)
    if arguments.submit:
        from launch.ablation.launcher import train_on_cluster

        only_failed, is_dry = bool(arguments.only), arguments.dry_run
        print(train_on_cluster(grid, arguments.cluster, only_failed, is_dry), end="")
        return
    if arguments.dry_run:
        from launch.ablation.estimate import dry_run
        from launch.ablation.report.power import outlook

        print(dry_run(grid.distinct_runs()), outlook(grid, arguments.effect), sep="\n\n")
        return

    from launch.ablation.launcher import train_here
    from launch.ablation.report.writer import write_table

    failed: dict[Path, str] = {}
    is_left = is_trained_here
    while is_left:
        failed = train_here(grid, arguments.jobs, only_failed=bool(arguments.only))
        before, grid = grid, with_seeds_needed(grid)
        is_left = grid is not before and not arguments.only
    print(write_table(grid, arguments.csv_safe))
    require_success(grid, failed)


def parse() -> argparse.Namespace:
    """The command line; `InputError` where its options do not go together."""
    parser = config_parser("ablate.py", PURPOSE, AblationConfig)
    add = parser.add_argument
    add("--scale", metavar="NAME", help="of the ablation's `scales`; default: its `scale`")
    add("--seeds", type=int, metavar="N", help="pretrain with seeds 0 to N-1; default: its `seeds`")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time, which share the cores")
    add("--only", choices=["failed"], help="runs that were started and are not completed")
    text = "list runs, hours and what the seeds can tell, or print --submit's script, and stop"
    add("--dry-run", action="store_true", help=text)
    text = "with --dry-run: how many seeds a difference asks for: 1.5 (sd), or perplexity=10"
    add("--effect", metavar="SIZE", help=text)
    add("--table", action="store_true", help="run nothing, make the table of what is there")
    text = "whether rankings hold from each of these scales to the next, by finished tables"
    add("--transfer", nargs="+", metavar="SCALE", help=text)
    add("--csv-safe", action="store_true", help="put ' before formulas in table.csv")
    add("--submit", choices=["slurm"], help="queue what can be started now as an array, and stop")
    add("--cluster", metavar="NAME|PATH", default="default", help="profile for --submit slurm")
    arguments = parser.parse_intermixed_args()
    require_at_least_1(arguments, "seeds", "jobs")
    require(arguments.dry_run or arguments.effect is None, "--effect goes with --dry-run: add it")
    return arguments


def require_success(grid: Grid, failed: dict[Path, str]) -> None:
    """Name each run that failed, and raise `RunError` where there is one."""
    for reason in failed.values():
        print(f"failed  {visible(reason)}")
    if failed:
        left = sum(not run.is_completed for run in grid.distinct_runs()) - len(failed)
        raise RunError(f"{len(failed)} runs failed, {left} others are left: try the same again")


if __name__ == "__main__":
    run(main)
