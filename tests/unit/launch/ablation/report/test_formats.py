"""Terminal, Markdown, LaTeX, CSV and JSON of one table."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from configs.system.safe_text import Spreadsheet, first_hidden
from launch.ablation.report import templates, terminal, writer
from launch.ablation.report.result_table import build

NASTY = r"50% _a_ & b #1 {x} ~^ \par $5 <|mask|> − “é” 한국어"


@pytest.fixture
def nasty(results):
    """The table with a row and a metric of all characters that mean something."""
    rows = [
        replace(r, name=NASTY, marks=(NASTY,)) if r.name == "dynamic" else r for r in results.rows
    ]
    metrics = [replace(m, label=NASTY) for m in results.metrics]
    found = [replace(m, row=NASTY) if m.row == "dynamic" else m for m in results.measurements]
    changes = dict(rows=tuple(rows), metrics=tuple(metrics), measurements=tuple(found))
    return build(replace(results, **changes, pretraining_runs={}))


HOSTILE = (
    "\x1b]0;x\x07\x9b\u202e=1<img src=x onerror=y><script>z</script>|`![a](http://b)"
    "\\input{/etc/passwd}\\write18{ls}^^5cinput"
)


@pytest.fixture
def hostile(results):
    """The results with a row, its runs and all words of its own being of an enemy."""
    folders = {key: Path(HOSTILE.replace("/", ":")) for key in results.pretraining_runs}
    changes = dict(
        rows=tuple(replace(r, name=r.name + HOSTILE, marks=(HOSTILE,)) for r in results.rows),
        measurements=tuple(
            replace(m, row=m.row + HOSTILE, run_dir=m.run_dir / HOSTILE.replace("/", ":"))
            for m in results.measurements
        ),
        metrics=tuple(replace(m, label=HOSTILE) for m in results.metrics),
        pretraining_runs={(row + HOSTILE, s): path for (row, s), path in folders.items()},
    )
    own = dict.fromkeys(("title", "question", "source", "scale", "name"), HOSTILE)
    return replace(results, **changes, **own, baseline=results.baseline + HOSTILE, notes=(HOSTILE,))


def test_names_are_no_commands_in_any_format(hostile):
    table = build(hostile)
    shown = {
        "terminal": terminal.render(table),
        "markdown": templates.to_markdown(table, {}),
        "latex": templates.to_latex(table),
        "page": templates.to_page(hostile, table, {}),
        "json": writer.to_json(table),
    }
    for name, text in shown.items():
        assert first_hidden(text.replace("\n", "").replace("\t", "")) is None, name
    assert r"\input" not in shown["latex"]
    assert "\\write18" not in shown["latex"] and "^^" not in shown["latex"]
    assert "<img" not in shown["page"] and shown["page"].count("<script") == 1
    for token in MarkdownIt("commonmark").enable("table").parse(shown["markdown"]):
        assert token.type != "html_block"
        for part in token.children or ():
            assert part.type not in ("html_inline", "image"), part
            assert part.type != "link_open" or ":" not in part.attrs["href"], part


def test_cells_of_the_csv_are_no_formulas_where_that_is_asked_for(results):
    safe, names = Spreadsheet(), {row.name: f"={row.name}" for row in results.rows}
    changes = dict(
        rows=tuple(replace(row, name=names[row.name]) for row in results.rows),
        baseline=names[results.baseline],
        measurements=tuple(replace(m, row=names[m.row]) for m in results.measurements),
    )
    table = build(replace(results, **changes, pretraining_runs={}))
    assert ",=dynamic," in writer.to_csv(table, None)
    assert ",'=dynamic," in writer.to_csv(table, safe) and safe.changed == 32


def test_terminal_fits_and_lines_up(table):
    blocks = terminal.render(table).split("\n\n")
    assert all(len(line) <= 100 for line in terminal.render(table).splitlines())
    assert blocks[-1] == "† static (1 mask): seed 2: undertrained (80 % of the tokens)\n"
    title, header, first, *_ = blocks[1].splitlines()
    assert title == "Perplexity, lower is better"
    assert first.startswith("* static (10 masks)  12.28 (12.21–12.35)  3")
    assert header.index("median") == first.index("12.28")


def test_every_format_says_under_the_table_which_rows_are_on_the_plateau(results):
    rows = [replace(r, on_plateau=(1,)) if r.name == "dynamic" else r for r in results.rows]
    changed = replace(results, rows=tuple(rows))
    table = build(changed)
    line = "dynamic (seed 1) ends on the plateau, less than 0.5 nats under"
    texts = [
        terminal.render(table),
        templates.to_markdown(table, {}),
        templates.to_latex(table),
        templates.to_page(changed, table, {}),
    ]
    assert [text.count(line) for text in texts] == [1] * 4
    texts = [text[: text.index(line)] for text in texts]
    assert [name in texts[0] for name in ("not compared", "Tweets, macro F1")] == [True] * 2
    record = writer.record(table, table.rows[1], table.metrics[0])
    assert record["verdict"] == "" and record["not_compared"].startswith("on the plateau")


def test_terminal_shortens_long_names_and_knows_wide_letters(results):
    names = {row.name: f"{row.name} {'한국어 ' * 20}" for row in results.rows}
    changes = dict(
        rows=tuple(replace(row, name=names[row.name]) for row in results.rows),
        baseline=names[results.baseline],
        measurements=tuple(replace(m, row=names[m.row]) for m in results.measurements),
    )
    text = terminal.render(build(replace(results, **changes, pretraining_runs={})))
    body = [line for line in text.splitlines()[2:] if line.startswith(("*", "·"))]
    assert max(terminal.columns(line) for line in body) <= 100


def test_markdown_has_every_number_and_its_runs(table):
    text = templates.to_markdown(table, {"Curves": "plots/curves.png"})
    assert "| **static (10 masks)** (baseline) | 12.28 (12.21–12.35) IQM 12.28 n=3 |" in text
    assert "| 3 | 0.00073 | 0.0056 | better | 0.25 |" in text and "| the same within 0.05 |" in text
    assert "| static (1 mask) † |" in text
    assert "[../../runs/row3/seed2](../../runs/row3/seed2)" in text
    assert "![Curves](plots/curves.png)" in text
    assert "RoBERTa, table 1" in text and "mask_epochs=null" in text


def test_markdown_tables_keep_their_columns(nasty):
    lines = [line for line in templates.to_markdown(nasty, {}).splitlines() if line.startswith("|")]
    counts = {line.replace("\\|", "").count("|") for line in lines}
    assert counts == {4, 6, 8, 13}, "rows, runs, medians, differences"


def test_csv_is_tidy(table):
    records = list(csv.DictReader(io.StringIO(writer.to_csv(table, None))))
    assert len(records) == 16
    dynamic = next(r for r in records if (r["row"], r["metric"]) == ("dynamic", "perplexity"))
    assert float(dynamic["difference"]) == table.rows[1].cells["perplexity"].difference.median
    assert (dynamic["verdict"], dynamic["seeds"]) == ("better", "3")
    assert 0 < float(dynamic["p"]) < float(dynamic["p_holm"]) < 0.05 < float(dynamic["p_sign_flip"])
    same = next(r for r in records if (r["row"], r["metric"]) == ("static (40)", "bits_per_byte"))
    assert (same["verdict"], same["same_within"]) == ("the same", "0.05")
    assert dynamic["same_within"] == dynamic["p_same"] == ""
    assert len(dynamic["runs"].split()) == 3


def test_json_holds_the_whole_table(table):
    content = json.loads(writer.to_json(table))
    assert [row["name"] for row in content["rows"]] == [row.name for row in table.rows]
    assert content["rows"][1]["cells"]["perplexity"]["difference"]["verdict"] == "better"
    assert content["rule"].endswith("δ is 0.05 (Bits per byte).")


def test_latex_escapes_everything(nasty):
    text = templates.escape(NASTY)
    assert r"50\% \_a\_ \& b \#1 \{x\} \textasciitilde{}\textasciicircum{}" in text
    assert r"\textbackslash{}par \$5 \textless{}\textbar{}mask\textbar{}\textgreater{} $-$" in text
    assert r"``é'' \texttt{U+D55C}\,\texttt{U+AD6D}" in text
    assert templates.to_latex(nasty).startswith(f"% {NASTY}\n")


def test_latex_rows_have_all_columns(table):
    lines = templates.to_latex(table).splitlines()
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    rows = [line for line in body if line != r"\addlinespace"]
    assert {line.count("&") for line in rows} == {6}
    assert len(rows) == 7
    assert "$^{\\uparrow}$, $p$ = 0.00073 (0.0056)" in rows[2]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on this machine")
@pytest.mark.parametrize("name", ["table", "nasty"])
@pytest.mark.parametrize("font", ["T1", "OT1"])
def test_latex_compiles(name, font, request, tmp_path):
    (tmp_path / "table.tex").write_text(templates.to_latex(request.getfixturevalue(name)))
    page = templates.LATEX_PAGE.replace("T1", font)
    (tmp_path / "table_page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table_page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Output written on table_page.pdf (1 page" in done.stdout
