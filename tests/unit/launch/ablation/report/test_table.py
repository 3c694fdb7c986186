"""From measurements to cells."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import InputError
from launch.ablation.report.phrasing import answers, arrow
from launch.ablation.report.table import build
from launch.ablation.study import Measurement, Row
from tests.unit.launch.ablation.report.studies import EFFECTS

BASELINE = "static (10 masks)"


def test_baseline_comes_first_and_has_no_differences(table):
    assert [row.name for row in table.rows] == list(EFFECTS)
    assert table.baseline.is_baseline
    assert all(cell.difference is None for cell in table.baseline.cells.values())


def test_a_cell_holds_the_paired_differences(study, table):
    values = {(m.row, m.seed): m.value for m in study.measurements if m.metric == "perplexity"}
    pairs = [values["dynamic", seed] - values[BASELINE, seed] for seed in (0, 1, 2)]
    cell = table.rows[1].cells["perplexity"]
    assert cell.difference.median == pytest.approx(statistics.median(pairs))
    assert cell.summary.median == pytest.approx(
        statistics.median(values["dynamic", seed] for seed in (0, 1, 2))
    )
    assert cell.difference.verdict == "better"


def test_finetuning_seeds_are_condensed_before_pairing(study, table):
    trials = [
        100 * m.value
        for m in study.measurements
        if (m.row, m.metric, m.seed) == ("dynamic", "tweets_macro_f1", 1)
    ]
    cell = table.rows[1].cells["tweets_macro_f1"]
    assert cell.seeds[1].value == pytest.approx(statistics.median(trials))
    assert [trial.value for trial in cell.seeds[1].trials] == pytest.approx(trials)
    assert cell.seeds[1].trials[4].run.endswith("tweets/trials/seed4")
    assert cell.summary.count == cell.difference.count == 3
    assert cell.finetuning_spread > 0
    assert table.rows[1].cells["perplexity"].finetuning_spread is None


def test_values_come_in_the_units_shown(table):
    assert 30 < table.baseline.cells["mlm_accuracy"].summary.median < 50


def test_links_are_relative_and_lead_to_the_run(study, table):
    path = table.baseline.cells["perplexity"].seeds[0].runs[0]
    assert path == "../../runs/row0/seed0"
    assert (study.folder / path).resolve() == study.pretraining_runs[BASELINE, 0].resolve()


def test_only_seeds_of_both_rows_pair(study):
    fewer = [m for m in study.measurements if (m.row, m.seed) != (BASELINE, 2)]
    cell = build(replace(study, measurements=tuple(fewer))).rows[1].cells["perplexity"]
    assert (cell.summary.count, cell.difference.count) == (3, 2)
    assert cell.difference.verdict == "too few seeds to tell"


def test_no_seed_in_common_is_said(study):
    moved = [replace(m, seed=m.seed + 9) if m.row == "dynamic" else m for m in study.measurements]
    cell = build(replace(study, measurements=tuple(moved))).rows[1].cells["perplexity"]
    assert cell.difference is None
    assert "no pretraining seed in common" in cell.refused


def test_figures_that_are_not_finite_are_left_out_and_marked(study):
    broken = [
        replace(m, value=float("nan"))
        if (m.row, m.metric, m.seed) == ("dynamic", "perplexity", 1)
        else m
        for m in study.measurements
    ]
    row = build(replace(study, measurements=tuple(broken))).rows[1]
    assert row.cells["perplexity"].summary.count == 2
    assert row.marks == ("seed 1: perplexity is nan, left out of every figure (seed1)",)


def test_other_tokenizers_get_no_difference_in_perplexity(study):
    rows = [replace(row, settings={"tokenizer.kind": row.name}) for row in study.rows]
    row = build(replace(study, rows=tuple(rows))).rows[1]
    assert row.cells["perplexity"].difference is None
    assert "another tokenizer" in row.cells["perplexity"].refused
    assert row.cells["bits_per_byte"].difference is not None


def test_other_formats_add_a_note(study):
    rows = [replace(row, settings={"input_format": row.name}) for row in study.rows]
    notes = build(replace(study, rows=tuple(rows))).notes
    assert notes[:-1] == study.notes
    assert "input format" in notes[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(baseline="none"), "baseline 'none' must be one of its rows"),
        (dict(rows=(Row("static (10 masks)", {}),) * 2), "different names"),
        (
            dict(measurements=(Measurement("dynamic", "f2", 0, 1.0, Path("runs/x")),)),
            "runs/x measures f2",
        ),
        (
            dict(measurements=(Measurement("dynamic", "perplexity", 0, 1.0, Path("runs/x")),) * 2),
            "two runs measure perplexity of 'dynamic' at seed 0",
        ),
        (dict(pretraining_runs={("x", 0): Path("runs/x")}), "pretraining_runs"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(study, changes, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        build(replace(study, **changes))


def test_facts_are_shown_and_not_judged(study):
    metrics = tuple(replace(metric, is_result=False) for metric in study.metrics)
    table = build(replace(study, metrics=metrics))
    cells = [row.cells[metric.name] for row in table.rows[1:] for metric in metrics]
    assert all(cell.summary.count and cell.difference is None for cell in cells)
    assert answers(table) == [] and {arrow(metric) for metric in metrics} == {""}
