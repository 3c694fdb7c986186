"""Figures and sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from configs.ablation_metrics import Metric
from launch.ablation.report import phrasing
from launch.ablation.report.result_table import build
from launch.ablation.report.statistics import summarise
from launch.ablation.report.verdicts import RULE, Difference, Sample, judge

METRIC = Metric("m", "M", higher_is_better=True, digits=2)


def compare(values: list[float], within: float | None = None) -> Difference:
    """The one verdict of a table, where higher is better."""
    return judge({"row": Sample(values, True, within)})["row"]


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [
        (12.306, False, "12.31"),
        (1234.5, False, "1,234.50"),
        (-0.126, True, "−0.13"),
        (0.126, True, "+0.13"),
        (-0.001, True, "0.00"),
        (0.0, True, "0.00"),
    ],
)
def test_numbers(value, signed, shown):
    assert phrasing.number(value, METRIC, signed) == shown


def test_a_difference_with_its_interval():
    assert phrasing.change(compare([0.1, 0.2, 0.3]), METRIC) == "+0.20 [+0.10, +0.30]"
    assert phrasing.change(compare([0.1]), METRIC) == "+0.10"


def test_counts_name_both_kinds_of_seeds(table):
    assert phrasing.count(table.baseline.cells["perplexity"]) == "3"
    assert phrasing.count(table.baseline.cells["tweets_macro_f1"]) == "3×5"


def test_one_sentence_answers_a_metric(table):
    assert phrasing.answers(table)[0] == (
        "Perplexity (lower is better): dynamic is better than static (10 masks) by 1.29; "
        "static (1 mask) † is worse than static (10 masks) by 2.78; "
        "static (40) cannot be told from static (10 masks) within seed noise."
    )


def test_what_is_the_same_says_within_what(table):
    assert (
        "; static (40) is the same as static (10 masks) within 0.05." in phrasing.answers(table)[2]
    )
    assert phrasing.verdict(compare([0.002, 0.003, 0.002], within=0.01)) == "the same within 0.01"
    assert phrasing.agreement(0.3, compare([0.002] * 3, within=0.01)).startswith("does not show")


def test_the_rule_names_what_it_was_applied_to(table, results):
    said = phrasing.rule(table).removeprefix(RULE)
    assert said == " Here 12 verdicts are corrected for, δ is 0.05 (Bits per byte)."
    alone = replace(results, rows=results.rows[1:2], pretraining_runs={})
    kept = tuple(m for m in results.measurements if m.row == results.baseline)
    assert phrasing.rule(build(replace(alone, measurements=kept))) == RULE


@pytest.mark.parametrize(("p", "shown"), [(0.0123, "0.012"), (1e-9, "<1e-6"), (None, ""), (1, "1")])
def test_p_in_two_digits(p, shown):
    assert phrasing.p_value(p) == shown


def test_quartiles_of_two_seeds_are_not_shown():
    assert phrasing.quartiles(summarise([1.0, 2.0]), METRIC) == ""
    assert phrasing.quartiles(summarise([1.0, 2.0, 3.0]), METRIC) == "1.50–2.50"


def test_several_rows_of_one_verdict_share_a_phrase():
    assert phrasing.phrase("worse", ["a", "b", "c"], ["1", "2", "3"], "d") == (
        "a (by 1), b (by 2) and c (by 3) are worse than d"
    )


def test_what_does_not_compare_says_why(results):
    rows = [replace(row, settings={"tokenizer.kind": row.name}) for row in results.rows]
    found = phrasing.answers(build(replace(results, rows=tuple(rows))))
    assert "static (40) are not compared (another tokenizer: figures per token" in found[0]


def test_references_get_the_decimals_of_their_column(table):
    assert phrasing.reference(table, table.rows[1], "tweets_macro_f1") == "84.0"
    assert phrasing.reference(table, table.rows[0], "SQuAD F1") == ""


@pytest.mark.parametrize(
    ("reported", "values", "found"),
    [
        (0.3, [0.10, 0.12, 0.11], "reproduces at this scale"),
        (-0.3, [0.10, 0.12, 0.11], "does not reproduce at this scale"),
        (0.3, [0.10, -0.12, 0.11], "cannot be told apart from noise"),
        (0.3, [0.10], "cannot be told apart from noise"),
        (0.0, [0.10, 0.12, 0.11], "cannot be told apart from noise"),
    ],
)
def test_agreement_with_a_paper(reported, values, found):
    assert phrasing.agreement(reported, compare(values)) == found


def test_findings_cover_what_paper_and_runs_both_measure(table):
    (found,) = phrasing.findings(table)
    assert found.startswith("Tweets, macro F1, dynamic against static (10 masks): RoBERTa, table 1")
    assert found.endswith("cannot be told apart from noise.")
