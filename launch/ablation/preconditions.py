"""What is settled before the first run starts, or would be found out after hours, or never."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import flat
from launch.ablation.grid import Grid, GridRun

logger = logging.getLogger(__name__)


def require_effect(overrides: list[str], config: AblationConfig, grid: Grid) -> None:
    """Raise `InputError` for an override of a field that the scale or every row sets as well.

    Those win, and a wish of the command line must not vanish without a word.
    """
    scale = grid.config.scale
    of_scale, rows = flat(config.scales[scale].fields), grid.rows.values()
    for key in (word.partition("=")[0] for word in overrides):
        for name in flat({"fields": config.fields}):
            if not f"{name}.".startswith(f"{key}."):
                continue
            field = name.removeprefix("fields.")
            if _is_set(field, of_scale):
                cure = f"scale {scale} sets it, too: write scales.{scale}.{name}=..."
            elif all(_is_set(field, row) for row in rows):
                cure = "every row sets it: change axes"
            else:
                continue
            raise InputError(f"override '{name}' has no effect: {cure}")


def require_examples(grid: Grid) -> None:
    """Raise `InputError` for a task without its files: hours before a run would miss them."""
    from finetune.data.tables import find_file

    configs = [run.config for run in grid.distinct_runs() if not run.is_completed]
    tasks = [config.task for config in configs if isinstance(config, FinetuneConfig)]
    files = {Path(t.folder) / name: None for t in tasks for name in (t.train, t.dev) if name}
    try:
        for path in files:
            if not path.is_dir():
                find_file(path)
    except InputError as error:
        cure = f"or leave tasks out: scales.{grid.config.scale}.tasks=[]"
        raise InputError(f"{error}, {cure}") from error


def _is_set(field: str, by: Iterable[str]) -> bool:
    """Whether one of the names `by` is `field`, or a section that holds it."""
    return any(f"{field}.".startswith(f"{other}.") for other in by)


def with_shared_precision(grid: Grid, jobs: int, measures: bool) -> Grid:
    """The grid with what `auto` became in the runs that were begun, or is on this machine.

    Each run would choose for itself otherwise, some on another machine or with other threads, and
    the table would refuse what it compares.

    Args:
        jobs: runs at a time, which share the cores.
        measures: this machine may be asked; not where the runs are trained elsewhere, or not now.
    """
    encoders = [run for run in grid.distinct_runs() if not run.method]
    runs = [run for run in encoders if run.config.engine.precision == "auto"]
    if not runs:
        return grid
    recorded = filter(None, (run.status_folder.recorded_precision() for run in runs))
    precision, reason = next(recorded, None), "as in the runs that were begun"
    if precision is None and measures:
        precision, reason = _measured(runs[0], jobs)
    if precision is None:
        return grid
    logger.info(f"engine.precision=auto: {precision} in every run, {reason}")
    return Grid(grid.config, precision, grid.makes_stores)


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
