"""report.html: one file that opens from a folder, with neither network nor server."""

from __future__ import annotations

import base64
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from configs.system.run_folder import RunFolder
from configs.system.safe_text import visible
from configs.system.secrets import hide
from launch.ablation.measurements import Results
from launch.ablation.report import phrasing
from launch.ablation.report.statistics import RULE
from launch.ablation.report.table import SeedValue, Table, relative

TEMPLATE = Path(__file__).with_name("page.html")


def render(results: Results, table: Table, plots: dict[str, str]) -> str:
    """The page.

    Args:
        plots: paths, relative to the folder of the results, by what they show.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            visible(hide(value), lines=True) if isinstance(value, str) else value
        ),
    )
    environment.filters["link"] = partial(quote, errors="surrogateescape")
    measured = {metric.name for metric in table.metrics}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        table=table,
        phrasing=phrasing,
        rule=RULE,
        answers=[(m, phrasing.answer(table, m)) for m in table.metrics if m.is_result],
        findings=phrasing.findings(table),
        plots={title: inline(results.folder / path) for title, path in plots.items()},
        runs=runs(results, table),
        config=baseline_config(results),
        unmeasured={k: v for k, v in table.references.items() if k not in measured},
        seeds=len({seed for _, seed in results.pretraining_runs}),
    )


def inline(path: Path) -> str:
    """A picture as a URL that holds it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def runs(results: Results, table: Table) -> list[dict[str, Any]]:
    """For each row and pretraining seed: its figures by metric, and its folder."""
    lines = []
    for row in table.rows:
        by_seed: dict[int, dict[str, SeedValue]] = defaultdict(dict)
        for name, cell in row.cells.items():
            for value in cell.seeds:
                by_seed[value.seed][name] = value
        for seed, values in sorted(by_seed.items()):
            path = results.pretraining_runs.get((row.name, seed))
            first = next(iter(values.values())).runs[0]
            folder = relative(path, results.folder) if path else first
            lines.append(dict(row=row.name, seed=seed, figures=values, folder=folder))
    return lines


def baseline_config(results: Results) -> str:
    """The resolved configuration of a run of the baseline; empty where none is left."""
    for (row, _), folder in results.pretraining_runs.items():
        path = RunFolder(folder).config
        if row == results.baseline and path.is_file():
            return path.read_text(encoding="utf-8")
    return ""
