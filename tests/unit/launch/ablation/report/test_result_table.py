"""From measurements to cells."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from configs.ablation_metrics import Metric
from configs.errors import InputError
from launch.ablation.measurements import Measurement, Row
from launch.ablation.report.phrasing import answers, heading
from launch.ablation.report.result_table import build, margin
from tests.unit.launch.ablation.report.example_results import EFFECTS, PERPLEXITY, TWEETS

BASELINE = "static (10 masks)"


def test_baseline_comes_first_and_has_no_differences(table):
    assert [row.name for row in table.rows] == list(EFFECTS)
    assert table.baseline.is_baseline
    assert all(cell.difference is None for cell in table.baseline.cells.values())


def test_a_cell_holds_the_paired_differences(results, table):
    values = {(m.row, m.seed): m.value for m in results.measurements if m.metric == PERPLEXITY}
    pairs = [values["dynamic", seed] - values[BASELINE, seed] for seed in (0, 1, 2)]
    cell = table.rows[1].cells["perplexity"]
    assert cell.difference.median == pytest.approx(statistics.median(pairs))
    assert cell.summary.median == pytest.approx(
        statistics.median(values["dynamic", seed] for seed in (0, 1, 2))
    )
    assert cell.difference.verdict == "better"


def test_finetuning_seeds_are_condensed_before_pairing(results, table):
    trials = [
        100 * m.value
        for m in results.measurements
        if (m.row, m.metric, m.seed) == ("dynamic", TWEETS, 1)
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


def test_links_are_relative_and_lead_to_the_run(results, table):
    path = table.baseline.cells["perplexity"].seeds[0].runs[0]
    assert path == "../../runs/row0/seed0"
    assert (results.folder / path).resolve() == results.pretraining_runs[BASELINE, 0].resolve()


def test_only_seeds_of_both_rows_pair(results):
    fewer = [m for m in results.measurements if (m.row, m.seed) != (BASELINE, 2)]
    cell = build(replace(results, measurements=tuple(fewer))).rows[1].cells["perplexity"]
    assert (cell.summary.count, cell.difference.count) == (3, 2)
    assert cell.difference.verdict == "too few seeds to tell"


def test_no_seed_in_common_is_said(results):
    moved = [replace(m, seed=m.seed + 9) if m.row == "dynamic" else m for m in results.measurements]
    cell = build(replace(results, measurements=tuple(moved))).rows[1].cells["perplexity"]
    assert cell.difference is None
    assert "no pretraining seed in common" in cell.refused


def test_figures_that_are_not_finite_are_left_out_and_marked(results):
    broken = [
        replace(m, value=float("nan"))
        if (m.row, m.metric, m.seed) == ("dynamic", PERPLEXITY, 1)
        else m
        for m in results.measurements
    ]
    row = build(replace(results, measurements=tuple(broken))).rows[1]
    assert row.cells["perplexity"].summary.count == 2
    assert row.marks == ("seed 1: perplexity is nan, left out of every figure (seed1)",)


def test_other_tokenizers_get_no_difference_in_perplexity(results):
    rows = [replace(row, settings={"tokenizer.kind": row.name}) for row in results.rows]
    row = build(replace(results, rows=tuple(rows))).rows[1]
    assert row.cells["perplexity"].difference is None
    assert "another tokenizer" in row.cells["perplexity"].refused
    assert row.cells["bits_per_byte"].difference is not None


@pytest.mark.parametrize(
    ("metric", "wishes", "within"),
    [
        (PERPLEXITY, {"perplexity": "1%"}, 0.08),
        (PERPLEXITY, {"perplexity": 2}, 2),
        (PERPLEXITY, {"tasks": 0.5}, None),
        (TWEETS, {"tasks": 0.5, "perplexity": 1}, 0.5),
        (TWEETS, {"tasks": 0.5, "tweets_macro_f1": 0.1}, 0.1),
        (TWEETS, {"tasks": 0.5, "tweets_macro_f1": None}, None),
    ],
)
def test_margins_are_those_of_the_metric_its_kind_or_a_share(metric, wishes, within):
    found = margin(metric, wishes, [7.0, 8.0, 30.0])
    assert found == (None if within is None else pytest.approx(within))


def test_other_formats_add_a_note(results):
    measures = [{"evaluation.input_format": row.name} for row in results.rows]
    rows = [replace(row, measure=own) for row, own in zip(results.rows, measures)]
    notes = build(replace(results, rows=tuple(rows))).notes
    assert notes[:-1] == results.notes
    assert "input format" in notes[-1]


def on_plateau(results, *names: str):
    """The table, rows of these names having two seeds on the plateau."""
    rows = [replace(r, on_plateau=(0, 2)) if r.name in names else r for r in results.rows]
    return build(replace(results, rows=tuple(rows)))


def test_a_row_on_the_plateau_gets_no_verdict_but_for_its_task(results, table):
    assert table.on_plateau == ""
    stuck = on_plateau(results, "dynamic")
    cells = {row.name: row.cells for row in stuck.rows}
    for metric in ("perplexity", "mlm_accuracy", "bits_per_byte"):
        assert cells["dynamic"][metric].difference is None
        assert cells["static (1 mask)"][metric].difference.verdict == "worse"
    assert cells["dynamic"][TWEETS.name].difference is not None
    assert stuck.on_plateau.startswith("dynamic (seed 0, 2) ends on the plateau, less than 0.5 na")
    assert "it gets no verdict" in stuck.on_plateau and "optimizer.name=muon" in stuck.on_plateau
    said = answers(stuck)[0]
    assert "dynamic is not compared (on the plateau of the unigram distribution)" in said


def test_no_row_gets_a_verdict_against_a_baseline_on_the_plateau(results):
    stuck = on_plateau(results, BASELINE, "dynamic")
    for row in stuck.rows:
        assert all(row.cells[m].difference is None for m in ("perplexity", "bits_per_byte"))
    assert all(row.cells[TWEETS.name].difference for row in stuck.rows[1:])
    assert not any(cell.refused for cell in stuck.baseline.cells.values())
    assert "no row gets a verdict" in stuck.on_plateau
    names = f"{BASELINE} (seed 0, 2), dynamic (seed 0, 2) end on the plateau"
    assert stuck.on_plateau.startswith(names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(baseline="none"), "baseline 'none' must be one of its rows"),
        (dict(rows=(Row("static (10 masks)", {}),) * 2), "different names"),
        (
            dict(
                measurements=(
                    Measurement("dynamic", Metric("f2", "F2", True), 0, 1.0, Path("runs/x")),
                )
            ),
            "runs/x measures f2",
        ),
        (
            dict(measurements=(Measurement("dynamic", PERPLEXITY, 0, 1.0, Path("runs/x")),) * 2),
            "two runs measure perplexity of 'dynamic' at seed 0",
        ),
        (dict(pretraining_runs={("x", 0): Path("runs/x")}), "pretraining_runs"),
    ],
)
def test_results_that_contradict_themselves_are_refused(results, changes, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        build(replace(results, **changes))


def test_facts_are_shown_and_not_judged(results):
    metrics = tuple(replace(metric, is_result=False) for metric in results.metrics)
    table = build(replace(results, metrics=metrics))
    cells = [row.cells[metric.name] for row in table.rows[1:] for metric in metrics]
    assert all(cell.summary.count and cell.difference is None for cell in cells)
    assert answers(table) == [] and [heading(m) for m in metrics] == [m.label for m in metrics]
