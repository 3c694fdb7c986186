"""What an ablation found, as text."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from launch.ablation.study import Study


def write(study: Study) -> str:
    """A plain table of medians over seeds."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for found in study.measurements:
        values[found.row, found.metric].append(found.value)
    lines = ["\t".join(["", *(metric.label for metric in study.metrics)])]
    for row in study.rows:
        cells = [
            f"{median(own) * metric.scale:.{metric.digits}f}" if own else "-"
            for metric in study.metrics
            for own in [values[row.name, metric.name]]
        ]
        lines.append("\t".join([row.name, *cells, *row.marks]))
    return "\n".join([study.title, *lines, *study.notes])
