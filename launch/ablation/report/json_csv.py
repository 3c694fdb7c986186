"""The table for programs: JSON with everything, CSV with a line for each row and metric."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from configs.ablation_metrics import Metric
from configs.system.safe_text import Spreadsheet, json_text
from launch.ablation.report.statistics import RULE
from launch.ablation.report.table import Table, TableCell, TableRow

COMPARED = ("difference", "bootstrap_low", "bootstrap_high", "t_low", "t_high", "p", "pairs")


def to_json(table: Table) -> str:
    """The whole table; figures are in the units shown."""
    return json_text({**asdict(table), "rule": RULE}) + "\n"


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
    """A line's fields by name."""
    cell = row.cells.get(metric.name)
    return {
        "ablation": table.name,
        "scale": table.scale,
        "row": row.name,
        "baseline": table.baseline.name,
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        **measured(cell),
        **compared(cell),
        "reference": row.reference.get(metric.name),
        "source": table.source,
        "marks": "; ".join(row.marks),
        "runs": " ".join(path for seed in cell.seeds for path in seed.runs) if cell else "",
    }


def measured(cell: TableCell | None) -> dict[str, object]:
    """What the row's own runs say."""
    names = ("median", "low", "high", "count")
    columns = ("median", "quartile_1", "quartile_3", "seeds")
    summary = cell.summary if cell else None
    values = {column: getattr(summary, name, None) for column, name in zip(columns, names)}
    return {**values, "finetuning_iqr": cell.finetuning_spread if cell else None}


def compared(cell: TableCell | None) -> dict[str, object]:
    """What the pairs with the baseline say."""
    difference = cell.difference if cell else None
    if difference is None:
        refused = cell.refused if cell else ""
        return {**dict.fromkeys(COMPARED), "verdict": "", "not_compared": refused}
    figures = (
        difference.median,
        *(difference.interval or (None, None)),
        *(difference.t_interval or (None, None)),
        difference.p_value,
        difference.count,
    )
    return {**dict(zip(COMPARED, figures)), "verdict": difference.verdict, "not_compared": ""}
