"""The grid for TensorBoard's HParams page."""

from __future__ import annotations

from pathlib import Path

from configs.system.files import written_aside
from launch.ablation.measurements import Results
from launch.ablation.report.table import Table
from pretrain.run.log import write_hparams


def write(results: Results, table: Table, folder: Path) -> None:
    """One entry for each pretraining run: its row's settings and seed, and what it measured."""
    rows = {row.name: row for row in table.rows}
    with written_aside(folder) as aside:
        for name, seed in results.pretraining_runs:
            row = rows[name]
            metrics = {
                metric: value.value
                for metric, cell in row.cells.items()
                for value in cell.seeds
                if value.seed == seed
            }
            settings = {"row": name, **row.settings, **row.chosen, "seed": seed}
            number = list(rows).index(name)
            write_hparams(aside / f"{number:02d}-seed{seed}", settings, metrics)
