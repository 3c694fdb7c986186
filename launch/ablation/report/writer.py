"""Every output of an ablation's report, into one folder."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import asdict, replace
from pathlib import Path

from configs.ablation_metrics import Metric
from configs.system.files import write_text, written_aside
from configs.system.notes import optional
from configs.system.run_lock import take
from configs.system.run_names import PLOTS, TENSORBOARD
from configs.system.safe_text import Spreadsheet, json_text, visible
from configs.system.secrets import hide
from launch.ablation.grid import Grid
from launch.ablation.measure import collect
from launch.ablation.measurements import Results
from launch.ablation.report import phrasing, plots, templates, terminal
from launch.ablation.report.result_table import Table, TableRow, build
from launch.ablation.report.worth import worths
from pretrain.run.log import write_hparams

logger = logging.getLogger(__name__)


def write_table(grid: Grid, csv_safe: bool) -> str:
    """Write the report of what is completed; returns the table as text, the answers and the paths.

    Args:
        csv_safe: put ' before what a spreadsheet would take for a formula.
    Raises:
        InputError: two runs differ in more than the ablation studies.
    """
    safe = Spreadsheet() if csv_safe else None
    # Launchers that share the grid end together.
    lock = take(grid.folder, patience=60)
    try:
        text = write_report(collect(grid), safe)
    finally:
        lock.release()
    if safe and safe.note:
        logger.warning(f"table.csv: {safe.note}")
    return text


def write_report(results: Results, safe: Spreadsheet | None = None) -> str:
    r"""Every output into `results.folder`; returns the table as text, the answers and the paths.

    The folder gets table.md, table.tex (for \input; table_page.tex holds it), table.csv,
    table.json, and, which may fail, report.html, plots/ and tensorboard/.

    Args:
        safe: makes the cells of table.csv.

    Raises:
        InputError: the results contradict themselves; nothing is written.
    """
    table, folder = build(results), results.folder
    folder.mkdir(parents=True, exist_ok=True)
    with optional(f"{folder}: worth in compute"):
        table = replace(table, worths=worths(results))
    shown = write_plots(results, table)
    texts = {
        "table.md": hide(templates.to_markdown(table, shown)),
        "table.tex": hide(templates.to_latex(table)),
        "table_page.tex": templates.LATEX_PAGE,
        "table.csv": to_csv(table, safe),
        "table.json": to_json(table),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    with optional(f"{folder}/report.html"):
        write_text(folder / "report.html", templates.to_page(results, table, shown))
    with optional(str(folder / TENSORBOARD)):
        write_hparams_page(results, table, folder / TENSORBOARD)
    paths = [folder / name for name in (*texts, "report.html", *shown.values(), TENSORBOARD)]
    made = [path for path in paths if path.exists()]
    said = [*phrasing.answers(table), *phrasing.findings(table), *table.worths]
    closing = [*said, "", *made]
    return terminal.render(table) + "\n" + "\n".join(map(visible, closing)) + "\n"


def write_plots(results: Results, table: Table) -> dict[str, str]:
    """Those that can be drawn: what each shows -> its path in the folder."""
    with optional(str(results.folder / PLOTS)):
        with written_aside(results.folder / PLOTS) as aside:
            drawn = plots.write(results, table, aside)
        return {title: f"{PLOTS}/{name}" for title, name in drawn.items()}
    return {}


def write_hparams_page(results: Results, table: Table, folder: Path) -> None:
    """For TensorBoard: each pretraining run's settings and seed, and what it measured."""
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


def to_json(table: Table) -> str:
    """The whole table; figures are in the units shown."""
    return json_text({**asdict(table), "rule": phrasing.rule(table)}) + "\n"


def to_csv(table: Table, safe: Spreadsheet | None) -> str:
    """One line for each row and metric; no figure, no text. Cells are as `safe` makes them."""
    pairs = [(row, metric) for row in table.rows for metric in table.metrics]
    records = [record(table, row, metric) for row, metric in pairs]
    if safe:
        records = [{name: safe(cell) for name, cell in line.items()} for line in records]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def record(table: Table, row: TableRow, metric: Metric) -> dict[str, object]:
    """A line's fields by name; None where there is no figure."""
    cell, difference = row.cells.get(metric.name), row.difference(metric)
    summary = cell.summary if cell else None
    quartiles = getattr(summary, "quartiles", None) or (None, None)
    low, high = getattr(difference, "interval", None) or (None, None)
    t_low, t_high = getattr(difference, "t_interval", None) or (None, None)
    return {
        "ablation": table.name,
        "scale": table.scale,
        "row": row.name,
        "baseline": table.baseline.name,
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "median": getattr(summary, "median", None),
        "interquartile_mean": getattr(summary, "iqm", None),
        "quartile_1": quartiles[0],
        "quartile_3": quartiles[1],
        "seeds": getattr(summary, "count", None),
        "finetuning_iqr": getattr(cell, "finetuning_spread", None),
        "difference": getattr(difference, "median", None),
        "bootstrap_low": low,
        "bootstrap_high": high,
        "t_low": t_low,
        "t_high": t_high,
        "p": getattr(difference, "p_value", None),
        "p_holm": getattr(difference, "p_holm", None),
        "p_sign_flip": getattr(difference, "p_sign_flip", None),
        "same_within": getattr(difference, "same_within", None),
        "p_same": getattr(difference, "p_same", None),
        "p_same_holm": getattr(difference, "p_same_holm", None),
        "probability_of_improvement": getattr(difference, "improvement", None),
        "pairs": getattr(difference, "count", None),
        "verdict": getattr(difference, "verdict", ""),
        "not_compared": getattr(cell, "refused", ""),
        "reference": row.reference.get(metric.name),
        "source": table.source,
        "marks": "; ".join(row.marks),
        "runs": " ".join(path for seed in cell.seeds for path in seed.runs) if cell else "",
    }
