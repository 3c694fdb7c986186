"""One precision for all cells of an ablation whose recipes leave it to `auto`."""

from __future__ import annotations

import logging

from configs.system.run_status import recorded_precision
from launch.ablation.cells import Cell, Grid

logger = logging.getLogger(__name__)


def with_one_precision(grid: Grid, jobs: int, measures: bool) -> Grid:
    """The grid with what `auto` became in the cells that were begun, or is on this machine.

    Each cell would choose for itself otherwise, some on another machine or with other threads, and
    the table would refuse what it compares.

    Args:
        jobs: cells at a time, which share the cores.
        measures: False: only what was begun tells, for the cells run elsewhere or not at all.
    """
    cells = [cell for cell in grid.distinct() if _is_open(cell)]
    if not cells:
        return grid
    found = next(filter(None, (recorded_precision(c.results) for c in cells)), None)
    reason = "as in the cells that were begun"
    if found is None and measures:
        found, reason = _measured(cells[0], jobs)
    if found is None:
        return grid
    logger.info(f"engine.precision=auto: {found} in every cell, {reason}")
    return Grid(grid.config, found)


def _is_open(cell: Cell) -> bool:
    return not cell.method and cell.config.engine.precision == "auto"


def _measured(cell: Cell, jobs: int) -> tuple[str, str]:
    """(precision, why) of this machine, by as many threads as a cell will have."""
    import torch

    from pretrain.engine.machine import threads
    from pretrain.engine.precision import choose_precision
    from pretrain.ranks.world import World, cores

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = cell.config.adapt if cell.task else cell.config.data
    with threads(max(1, cores() // jobs)):
        found = choose_precision("auto", World(0, 1, device), config.cache)
    return found.name, f"{found.reason} ({found.source})"
