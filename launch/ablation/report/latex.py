r"""The table as LaTeX with booktabs: one to \input, and a page that holds it."""

from __future__ import annotations

import re
import unicodedata

from configs.ablation_metrics import Metric
from configs.system.safe_text import visible
from launch.ablation.report import phrasing
from launch.ablation.report.statistics import RULE, Verdict
from launch.ablation.report.table import Table, TableRow

SIGNS: dict[Verdict, str] = {
    "better": r"$^{\uparrow}$",
    "worse": r"$^{\downarrow}$",
    "within seed noise": r"$^{\approx}$",
    "too few seeds to tell": r"$^{?}$",
}
ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "": ""}
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "Δ": r"$\Delta$",
    "…": r"\ldots{}",
    "†": r"\dag{}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
PAGE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{booktabs}
\usepackage{graphicx}
\pagestyle{empty}
\begin{document}
\input{table}
\end{document}
"""
"""table_page.tex"""


def render(table: Table) -> str:
    """table.tex: a floating table; needs booktabs and graphicx (which shrinks it to the page)."""
    columns = "l" + "c" * (len(table.metrics) + len(table.references))
    lines = [
        *originals(table),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption(table)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', table.name)}}}",
        r"\renewcommand{\arraystretch}{1.1}",
        r"\sbox0{\small",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *header(table),
        r"\midrule",
        *[line for row in table.rows for line in row_lines(table, row)][:-1],
        r"\bottomrule",
        r"\end{tabular}}%",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        r"\par\smallskip",
        rf"\parbox{{\linewidth}}{{\footnotesize {escape(RULE)}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def caption(table: Table) -> str:
    """What the figures and signs mean."""
    counts = [len(cell.seeds) for row in table.rows for cell in row.cells.values()] or [0]
    seeds = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    signs = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
    marks = "; ".join(table.marks)
    return (
        f"{escape(table.title)} (scale: {escape(table.scale)}). Median (quartiles) over "
        f"{seeds} pretraining seeds; below, the median paired difference to "
        f"{escape(table.baseline.name)} with its 95\\,\\% bootstrap interval: {signs}."
        + (rf" \dag{{}} {escape(marks)}." if marks else "")
    )


def header(table: Table) -> list[str]:
    """The metrics' names; above what a paper reports, its name."""
    arrows = [ARROWS[phrasing.arrow(m)] for m in table.metrics]
    names = [f"{escape(m.label)} {arrow}".rstrip() for m, arrow in zip(table.metrics, arrows)]
    reported = [escape(label) for label in table.references.values()]
    last = " & ".join(["", *names, *reported]) + r" \\"
    if not reported:
        return [last]
    first, end = len(names) + 2, len(names) + len(reported) + 1
    source = escape(table.source or "reported")
    blank = " &" * (len(names) + 1)
    group = rf"{blank} \multicolumn{{{len(reported)}}}{{c}}{{{source}}} \\"
    return [group, rf"\cmidrule(lr){{{first}-{end}}}", last]


def row_lines(table: Table, row: TableRow) -> list[str]:
    """Medians, and below them the differences in small print."""
    name = escape(row.label)
    name = rf"\textbf{{{name}}}" if row.is_baseline else name
    medians = [middle(row, metric) for metric in table.metrics]
    reported = [escape(phrasing.reference(table, row, name)) or "--" for name in table.references]
    lines = [" & ".join([name, *medians, *reported]) + r" \\"]
    changes = [change(row, metric) for metric in table.metrics]
    if any(changes):
        blank = [""] * len(reported)
        lines.append(" & ".join(["", *changes, *blank]) + r" \\")
    return [*lines, r"\addlinespace"]


def middle(row: TableRow, metric: Metric) -> str:
    """The first line of a cell."""
    if metric.name not in row.cells:
        return "--"
    summary = row.cells[metric.name].summary
    spread = phrasing.quartiles(summary, metric)
    shown = rf" {{\footnotesize({escape(spread)})}}" if spread else ""
    return escape(phrasing.number(summary.median, metric)) + shown


def change(row: TableRow, metric: Metric) -> str:
    """The second line of a cell; empty for the baseline and for what does not compare."""
    cell = row.cells.get(metric.name)
    if cell is None or cell.difference is None:
        return r"\footnotesize not comparable" if cell and cell.refused else ""
    text = escape(phrasing.change(cell.difference, metric))
    return rf"\footnotesize {text}{SIGNS[cell.difference.verdict]}"


def escape(text: str) -> str:
    """Text that pdfLaTeX sets as it stands; a character it has no letter for becomes U+XXXX."""
    return "".join(map(escape_character, visible(" ".join(text.split()))))


def escape_character(character: str) -> str:
    """One character; Latin letters with accents stay."""
    if character in SPECIAL:
        return SPECIAL[character]
    if character.isascii() or is_latin(character):
        return character
    return rf"\texttt{{U+{ord(character):04X}}}\,"


def is_latin(character: str) -> bool:
    """Whether the T1 font has it: a letter of Western Europe."""
    return character <= "ÿ" and unicodedata.category(character).startswith("L")


def originals(table: Table) -> list[str]:
    """Comments with the names that `escape` could not keep."""
    names = [row.name for row in table.rows] + [metric.label for metric in table.metrics]
    return [f"% {visible(name)}" for name in names if r"\texttt{U+" in escape(name)]
