"""Seeds are added to a grid, one after the other, until its table is decided."""

from __future__ import annotations

import logging
from dataclasses import replace

from configs.system.safe_text import visible
from launch.ablation.grid import Grid
from launch.ablation.measure import collect
from launch.ablation.report.result_table import build

logger = logging.getLogger(__name__)

OPEN = ("cannot tell", "too few seeds to tell")


def with_seeds_needed(grid: Grid) -> Grid:
    """The grid with another seed for as long as all of its runs are completed and a verdict is
    open, up to `most_seeds`; the same object where none is needed, or none may be added.

    Raises:
        InputError: two runs differ in more than the ablation studies.
    """
    seeds = grid.config.seeds
    if len(seeds) >= (grid.config.most_seeds or 0):
        return grid
    if not all(run.is_completed for run in grid.distinct_runs()):
        return grid
    open_verdicts = count_open(grid)
    if not open_verdicts:
        return grid
    further = max(seeds) + 1
    logger.info(
        f"{visible(grid.folder)}: {open_verdicts} verdicts are open after {len(seeds)} seeds: seed "
        f"{further} is added"
    )
    config = replace(grid.config, seeds=[*seeds, further])
    return with_seeds_needed(Grid(config, grid.precision, grid.makes_stores))


def count_open(grid: Grid) -> int:
    """Verdicts of rows that pretrain which its completed runs leave open."""
    rows = [row for row in build(collect(grid)).rows if row.name in grid.rows]
    found = [cell.difference for row in rows for cell in row.cells.values() if cell.difference]
    return sum(difference.verdict in OPEN for difference in found)
