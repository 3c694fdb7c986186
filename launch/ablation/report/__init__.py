"""The report of an ablation: statistics, tables, plots and a page from `Results`."""

from __future__ import annotations

from configs.system.safe_text import Spreadsheet
from configs.system.secrets import hide
from launch.ablation.measurements import Results


def write(results: Results, safe: Spreadsheet | None = None) -> str:
    """Every output into `results.folder`; returns the table as text, the answers and the paths.

    The folder gets table.md, table.tex (for \\input; table_page.tex holds it), table.csv,
    table.json, and, which may fail, report.html, plots/ and tensorboard/.

    Args:
        safe: makes the cells of table.csv.

    Raises:
        InputError: the results contradict themselves; nothing is written.
    """
    from configs.system.files import write_text, written_aside
    from configs.system.notes import optional
    from configs.system.safe_text import visible
    from launch.ablation.report import (
        hparams,
        json_csv,
        latex,
        markdown,
        page,
        phrasing,
        plots,
        terminal,
    )
    from launch.ablation.report.table import build

    table, folder = build(results), results.folder
    folder.mkdir(parents=True, exist_ok=True)
    shown = {}
    with optional(f"{folder}/plots"):
        with written_aside(folder / "plots") as aside:
            drawn = plots.write(results, table, aside)
        shown = {title: f"plots/{name}" for title, name in drawn.items()}
    texts = {
        "table.md": hide(markdown.render(table, shown)),
        "table.tex": hide(latex.render(table)),
        "table_page.tex": latex.PAGE,
        "table.csv": json_csv.to_csv(table, safe),
        "table.json": json_csv.to_json(table),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    with optional(f"{folder}/report.html"):
        write_text(folder / "report.html", page.render(results, table, shown))
    with optional(f"{folder}/tensorboard"):
        hparams.write(results, table, folder / "tensorboard")
    paths = [folder / name for name in (*texts, "report.html", *shown.values(), "tensorboard")]
    made = [path for path in paths if path.exists()]
    closing = [*phrasing.answers(table), *phrasing.findings(table), "", *made]
    return terminal.render(table) + "\n" + "\n".join(map(visible, closing)) + "\n"
