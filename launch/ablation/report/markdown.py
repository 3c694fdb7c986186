"""The table as Markdown, with every number's runs."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from configs.ablation_metrics import Metric
from configs.system.safe_text import Markup, markdown
from finetune.report.markdown_tables import bullets, table
from launch.ablation.report import phrasing
from launch.ablation.report.statistics import RULE
from launch.ablation.report.table import Table, TableCell


def render(model: Table, plots: dict[str, str]) -> str:
    """table.md.

    Args:
        plots: paths, relative to the table's folder, by what they show.
    """
    parts = [
        f"# {markdown(model.title)}",
        markdown(model.question),
        bullets(phrasing.answers(model)),
        section("Against the paper", phrasing.findings(model)),
        "## Medians over seeds",
        medians(model),
        "In brackets: quartiles over pretraining seeds; n: pretraining seeds × fine-tuning seeds.",
        f"## Differences to {markdown(model.baseline.name)}",
        differences(model),
        RULE,
        *(f"![{title}]({path})" for title, path in plots.items()),
        section("What must be known of the runs", model.marks),
        section("What holds for all runs", model.notes),
        "## Rows",
        table(
            ["row", "settings", "tuned for it"],
            [[row.name, *map(phrasing.settings, (row.settings, row.chosen))] for row in model.rows],
        ),
        "## Runs",
        runs(model),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def section(title: str, lines: Sequence[str]) -> str:
    """A heading and a list; nothing where the list is empty."""
    return f"## {title}\n\n{bullets(lines)}" if lines else ""


def medians(model: Table) -> str:
    """Rows by metrics, then what a paper reports."""
    source = model.source or "reported"
    header = ["", *(f"{m.label} {phrasing.arrow(m)}".rstrip() for m in model.metrics)]
    header += [f"{label} ({source})" for label in model.references.values()]
    lines = []
    for row in model.rows:
        cells = [row.cells.get(metric.name) for metric in model.metrics]
        shown = [phrasing.middle(c, m) if c else "–" for c, m in zip(cells, model.metrics)]
        reported = [phrasing.reference(model, row, name) or "–" for name in model.references]
        name = markdown(row.label, in_table=True)
        name = Markup(f"**{name}** (baseline)" if row.is_baseline else name)
        lines.append([name, *shown, *reported])
    return table(header, lines)


def differences(model: Table) -> str:
    """A line for each row and metric that has pairs, or says why it has none."""
    interval = Markup("median difference [95 % bootstrap]")
    header = ["row", "metric", interval, "95 % t interval of the mean"]
    lines = [
        [row.name, metric.label, *judged(row.cells[metric.name], metric)]
        for metric in model.metrics
        for row in model.rows[1:]
        if metric.name in row.cells
    ]
    return table([*header, "pairs", "p", "verdict", "IQR of fine-tuning"], lines)


def judged(cell: TableCell, metric: Metric) -> list[str]:
    """A difference in words."""
    difference, spread = cell.difference, ""
    if cell.finetuning_spread is not None:
        spread = phrasing.number(cell.finetuning_spread, metric)
    if difference is None:
        return ["–", "", "", "", cell.refused, spread]
    return [
        Markup(phrasing.change(difference, metric)),
        Markup(phrasing.interval(difference.t_interval, metric)),
        str(difference.count),
        phrasing.p_value(difference),
        difference.verdict,
        spread,
    ]


def runs(model: Table) -> str:
    """Every seed's figure, linked to the folders it comes from."""
    lines = []
    for row in model.rows:
        for metric in model.metrics:
            cell = row.cells.get(metric.name)
            for seed in cell.seeds if cell else ():
                links = Markup(", ".join(map(link, seed.runs)))
                value = phrasing.number(seed.value, metric)
                lines.append([row.name, metric.label, str(seed.seed), value, links])
    return table(["row", "metric", "seed", "value", "runs"], lines)


def link(path: str) -> str:
    """A folder, shown and linked."""
    return f"[{markdown(path, in_table=True)}]({quote(path, errors='surrogateescape')})"
