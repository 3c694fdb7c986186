r"""The report as a web page, as Markdown and as LaTeX: templates that lie beside this file.

page.html opens from a folder, with neither network nor server. table.tex, to be read by \input,
needs booktabs and graphicx; table_page.tex holds it. Whatever a template shows passes the format's
own escaping, but for what it marks as `own`.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from configs.system.run_folder import RunFolder
from configs.system.safe_text import Markup, markdown, visible
from configs.system.secrets import hide
from finetune.report import markdown_tables
from launch.ablation.measurements import Results
from launch.ablation.report import phrasing
from launch.ablation.report.confusions import confusions
from launch.ablation.report.result_table import SeedValue, Table, relative
from launch.ablation.report.verdicts import Verdict

FOLDER = Path(__file__).parent
LATEX_PAGE = (FOLDER / "table_page.tex").read_text(encoding="utf-8")
SIGNS: dict[Verdict, str] = {
    "better": r"$^{\uparrow}$",
    "worse": r"$^{\downarrow}$",
    "the same": r"$^{=}$",
    "cannot tell": r"$^{\approx}$",
    "too few seeds to tell": r"$^{?}$",
}
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # \textquotedbl is in T1 alone; this is a quote in OT1, too
    **{"−": "$-$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$"},
    "δ": r"$\delta$",
    **{"→": r"$\rightarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "Δ": r"$\Delta$"},
    **{"…": r"\ldots{}", "†": r"\dag{}", "–": "--", "—": "---"},
    **{"‘": "`", "’": "'", "“": "``", "”": "''"},
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
"""characters that mean something to LaTeX, or that pdfLaTeX has under another name"""


def to_page(results: Results, table: Table, plots: dict[str, str]) -> str:
    """report.html.

    Args:
        plots: paths, relative to the folder of the results, by what they show.
    """
    measured = {metric.name for metric in table.metrics}
    return _render(
        "page.html",
        table,
        lambda value: visible(hide(value), lines=True) if isinstance(value, str) else value,
        autoescape=True,
        answers=[(m, phrasing.answer(table, m)) for m in table.metrics if m.is_result],
        plots={title: inline(results.folder / path) for title, path in plots.items()},
        runs=runs(results, table),
        confusions=confusions(results),
        config=baseline_config(results),
        unmeasured={k: v for k, v in table.references.items() if k not in measured},
        seeds=len({seed for _, seed in results.pretraining_runs}),
    )


def to_markdown(table: Table, plots: dict[str, str]) -> str:
    """table.md, with every number's runs; `plots` as above."""
    return _render(
        "table.md", table, markdown_tables.cell, answers=phrasing.answers(table), plots=plots
    )


def to_latex(table: Table) -> str:
    """table.tex: a floating table, shrunk to the page where it is wider."""
    counts = [len(cell.seeds) for row in table.rows for cell in row.cells.values()] or [0]
    names = [row.name for row in table.rows] + [metric.label for metric in table.metrics]
    return _render(
        "table.tex",
        table,
        lambda value: value if isinstance(value, Markup) else escape(str(value)),
        # Those of Jinja and of LaTeX clash.
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        originals=[visible(name) for name in names if r"\texttt{U+" in escape(name)],
        label=re.sub(r"[^A-Za-z0-9-]+", "-", table.name),
        seeds=" to ".join(map(str, sorted({min(counts), max(counts)}))),
        signs=SIGNS,
    )


def _render(
    template: str,
    table: Table,
    shown: Callable[[object], object],
    autoescape: bool = False,
    **options: Any,  # noqa: ANN401  (Jinja's, and what the template is about)
) -> str:
    """A template of the table, whose values pass `shown`."""
    from jinja2 import Environment, StrictUndefined

    syntax = {name: options.pop(name) for name in list(options) if name.endswith("_string")}
    environment = Environment(
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not autoescape,
        finalize=shown,
        **syntax,
    )
    environment.filters["link"] = partial(quote, errors="surrogateescape")
    environment.filters["own"] = Markup
    environment.filters["text"] = lambda value: Markup(markdown(value))
    source = (FOLDER / template).read_text(encoding="utf-8")
    given = dict(
        table=table, phrasing=phrasing, rule=phrasing.rule(table), findings=phrasing.findings(table)
    )
    return environment.from_string(source).render(**given, **options)


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


def escape(text: str) -> str:
    """Text that pdfLaTeX sets as it stands; a character it has no letter for becomes U+XXXX."""
    return "".join(map(_escaped, visible(" ".join(text.split()))))


def _escaped(character: str) -> str:
    if character in LATEX:
        return LATEX[character]
    # The T1 font has the letters of Western Europe.
    is_latin = character <= "ÿ" and unicodedata.category(character).startswith("L")
    plain = character.isascii() or is_latin
    return character if plain else rf"\texttt{{U+{ord(character):04X}}}\,"
