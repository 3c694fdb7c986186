"""Which choice mattered: `python launch/ablate.py --config ablations/masking.yaml`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from pathlib import Path

if __name__ == "__main__" and not __package__:
    import as_script

    as_script.begin(hurries=False)

from configs.ablation_schema import AblationConfig
from configs.checks import require
from configs.errors import InputError, RunError
from configs.loader import flat
from configs.system.run_lock import take
from configs.system.safe_text import Spreadsheet, visible
from launch.ablation.cells import Grid
from launch.ablation.precision import with_one_precision
from launch.command import config_parser, read_config, run

logger = logging.getLogger("launch.ablate")

PURPOSE = (
    "Train every cell of an ablation that is not completed, fine-tune its encoders, and print the "
    "table. Type the same command again after any kind of end: it goes on."
)


def main() -> None:
    """Expand the grid, work it off or queue it, and make the table."""
    arguments = parse()
    config = read_config(arguments, AblationConfig)
    grid = Grid(config.at(arguments.scale, arguments.seeds))
    require_effect(arguments.overrides, config, grid)
    here = not (arguments.table or arguments.submit)
    grid = with_one_precision(grid, arguments.jobs, measures=here)
    if arguments.dry_run:
        from launch.ablation.estimate import dry_run

        print(dry_run(grid.distinct()))
        return
    if arguments.submit:
        from launch.ablation.slurm_array import submit

        submit(grid, arguments.cluster, arguments.only)
        return
    failed = {} if arguments.table else work(grid, arguments)

    from launch.ablation.collect import gather
    from launch.ablation.report import write

    safe = Spreadsheet() if arguments.csv_safe else None
    # Drivers that share the grid end together.
    table = take(grid.folder, patience=60)
    try:
        print(write(gather(grid), safe))
    finally:
        table.release()
    if safe and safe.note:
        logger.warning(f"table.csv: {safe.note}")
    for reason in failed.values():
        print(f"failed  {visible(reason)}")
    if failed:
        left = len([cell for cell in grid.distinct() if not cell.is_completed]) - len(failed)
        raise RunError(f"{len(failed)} cells failed, {left} others are left: try the same again")


def parse() -> argparse.Namespace:
    """The command line; `InputError` where its options do not go together."""
    parser = config_parser("ablate.py", PURPOSE, AblationConfig)
    add = parser.add_argument
    add("--scale", metavar="NAME", help="of the ablation's `scales`; default: its `scale`")
    add("--seeds", type=int, metavar="N", help="pretrain with seeds 0 to N-1; default: its `seeds`")
    add("--jobs", type=int, default=1, metavar="N", help="cells at a time, which share the cores")
    add("--only", choices=["failed"], help="cells that were started and are not completed")
    add("--dry-run", action="store_true", help="list the cells with state and hours, and stop")
    add("--table", action="store_true", help="run nothing, make the table of what is there")
    add("--csv-safe", action="store_true", help="put ' before formulas in table.csv")
    add("--submit", choices=["slurm"], help="queue what can be started now as an array, and stop")
    add("--cluster", metavar="NAME|PATH", default="default", help="profile for --submit slurm")
    arguments = parser.parse_intermixed_args()
    for name in ("seeds", "jobs"):
        value = getattr(arguments, name)
        require(value is None or value >= 1, f"--{name} {value} must be at least 1")
    return arguments


def require_effect(overrides: list[str], config: AblationConfig, grid: Grid) -> None:
    """Raise `InputError` for an override of a field that the scale or every row sets as well.

    Those win, and a wish of the command line must not vanish without a word.
    """
    scale = grid.config.scale
    own, rows = flat(config.scales[scale].fields), grid.rows.values()
    for key in (word.partition("=")[0] for word in overrides):
        for name in flat({"fields": config.fields}):
            if not f"{name}.".startswith(f"{key}."):
                continue
            field = name.removeprefix("fields.")
            if is_set(field, own):
                cure = f"scale {scale} sets it, too: write scales.{scale}.{name}=..."
            elif all(is_set(field, row) for row in rows):
                cure = "every row sets it: change axes"
            else:
                continue
            raise InputError(f"override '{name}' has no effect: {cure}")


def is_set(field: str, by: Iterable[str]) -> bool:
    """Whether fields `by` their names hold `field`, or all of which it is a part."""
    return any(f"{field}.".startswith(f"{other}.") for other in by)


def work(grid: Grid, arguments: argparse.Namespace) -> dict[Path, str]:
    """Run the cells here; returns those that failed, and why."""
    from launch.ablation.driver import Driver

    only = None
    if arguments.only:
        only = {cell.run_dir for cell in grid.distinct() if cell.status and not cell.is_completed}
        require(bool(only), "--only failed: every cell that was started is completed")
    require_examples(grid)
    return Driver(grid, arguments.jobs, only).run()


def require_examples(grid: Grid) -> None:
    """Raise `InputError` for a task without its files: hours before a cell would miss them."""
    from finetune.data.tables import find_file

    tasks = [c.config.task for c in grid.distinct() if c.task and not c.is_completed]
    files = {Path(t.folder) / name: None for t in tasks for name in (t.train, t.dev) if name}
    try:
        for path in files:
            if not path.is_dir():
                find_file(path)
    except InputError as error:
        cure = f"or leave tasks out: scales.{grid.config.scale}.tasks=[]"
        raise InputError(f"{error}, {cure}") from error


if __name__ == "__main__":
    run(main)
