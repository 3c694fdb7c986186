"""The table for programs: JSON with everything, CSV with a line for each row and metric."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from configs.ablation_metrics import Metric
from configs.system.safe_text import Spreadsheet, json_text
from launch.ablation.report.statistics import RULE
from launch.ablation.report.table import Table, TableRow


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
    """A line's fields by name; None where there is no figure."""
    cell, difference = row.cells.get(metric.name), row.difference(metric)
    summary = cell.summary if cell else None
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
        "quartile_1": getattr(summary, "low", None),
        "quartile_3": getattr(summary, "high", None),
        "seeds": getattr(summary, "count", None),
        "finetuning_iqr": getattr(cell, "finetuning_spread", None),
        "difference": getattr(difference, "median", None),
        "bootstrap_low": low,
        "bootstrap_high": high,
        "t_low": t_low,
        "t_high": t_high,
        "p": getattr(difference, "p_value", None),
        "pairs": getattr(difference, "count", None),
        "verdict": getattr(difference, "verdict", ""),
        "not_compared": getattr(cell, "refused", ""),
        "reference": row.reference.get(metric.name),
        "source": table.source,
        "marks": "; ".join(row.marks),
        "runs": " ".join(path for seed in cell.seeds for path in seed.runs) if cell else "",
    }
