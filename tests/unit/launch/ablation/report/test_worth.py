"""How much compute of the baseline a row is worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from launch.ablation.report import templates, terminal
from launch.ablation.report.curves import Curve, PowerLaw, law_of
from launch.ablation.report.result_table import build
from launch.ablation.report.worth import flops_to_reach, worth, worths
from launch.ablation.report.writer import write_report

STEPS = np.linspace(0, 1000, 11)


def curve(times: float = 1.0, end: float = 1000.0, left_at: float = 0.0) -> Curve:
    """A power law of `times` as many FLOPs, measured up to `end` steps."""
    steps = STEPS * end / 1000
    flops = 1e9 * steps
    with np.errstate(divide="ignore"):
        values = np.minimum(9.0, 6 * (times * flops / 1e9) ** -0.1)
    return Curve(steps, steps, values, flops, left_at)


@pytest.mark.parametrize("times", [0.7, 1.0, 1.3, 2.0])
def test_a_row_that_learns_as_from_more_compute_is_worth_it(times):
    assert worth(curve(times), curve()) == pytest.approx(times, rel=0.03)


def test_a_row_may_have_trained_for_longer():
    assert worth(curve(1.3, end=3000), curve()) == pytest.approx(1.3, rel=0.05)


def test_there_is_no_answer_beyond_what_was_measured_nor_on_the_plateau():
    assert flops_to_reach(curve(), curve().values.min() - 0.01) is None
    assert flops_to_reach(curve(), curve().values[1]) is None
    assert worth(curve(1000.0), curve()) is None
    assert worth(curve(1.3, left_at=2000), curve()) is None
    assert worth(curve(1.3, left_at=np.inf), curve()) is None
    assert worth(replace(curve(), values=np.full(11, np.nan)), curve()) is None


def test_a_power_law_is_found_again():
    flops, law = law_of([curve(), curve(1.0, end=2000)])
    assert law.exponent == pytest.approx(0.1) and law(1e12) == pytest.approx(6 * 1000**-0.1)
    assert (flops[0], flops[-1]) == (1e11, 2e12)
    assert law_of([curve(left_at=800)]) is None
    assert PowerLaw.fit(np.arange(1.0, 9), np.arange(1.0, 9)) is None


def test_every_output_says_what_rows_are_worth(results, tmp_path):
    own = replace(results, folder=tmp_path, budget="equal tokens")
    first, *_ = said = worths(own)
    assert [line.split(":")[0] for line in said] == [
        row.name for row in results.rows if row.name != results.baseline
    ]
    assert "x the compute of static (10 masks) (" in first and "over 3 seeds)" in first
    assert float(first.split("worth ")[1].split("x")[0]) > 1
    assert first in write_report(own)
    table = build(own)
    for text in (
        templates.to_markdown(replace(table, worths=said), {}),
        templates.to_page(own, replace(table, worths=said), {}),
        templates.to_latex(replace(table, worths=said)),
    ):
        assert "x the compute of static" in text and "equal tokens" in text
    assert "equal tokens" in terminal.render(table)
    assert json.loads((tmp_path / "table.json").read_text())["worths"] == list(said)
    assert (tmp_path / "plots" / "curves_flops.png").is_file()


def test_a_row_on_the_plateau_has_no_worth(results):
    changes = {"dynamic": {"on_plateau": (0,)}}
    rows = tuple(replace(row, **changes.get(row.name, {})) for row in results.rows)
    (said,) = (line for line in worths(replace(results, rows=rows)) if line.startswith("dynamic"))
    assert said == "dynamic: on the plateau of the unigram distribution"
