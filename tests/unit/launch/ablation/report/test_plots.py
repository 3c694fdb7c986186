"""Curves of run folders, and what is drawn of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from launch.ablation.report import plots
from launch.ablation.report.curves import Curve, band, curve_metric, read_curve
from launch.ablation.report.result_table import build


def test_curve_counts_tokens_and_minutes(results):
    curve = read_curve(results.pretraining_runs["static (10 masks)", 0], "mlm_loss")
    assert curve.tokens[[0, 1, -1]] == pytest.approx([0, 40 * 32 * 128, 800 * 32 * 128])
    assert curve.minutes[-1] == pytest.approx(800 * 32 * 128 / 20_000 / 60)
    assert len(curve.values) == 21


def test_an_evaluation_between_two_records_is_placed_between(tmp_path):
    records = [
        dict(kind="heldout", step=0, mlm_loss=9.0),
        dict(kind="train", step=10, mlm_loss=5.0, tokens=6_000, tokens_per_second=100.0),
        dict(kind="heldout", step=5, mlm_loss=5.0),
        dict(kind="heldout", step=10, mlm_loss=4.0),
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    curve = read_curve(tmp_path, "mlm_loss")
    assert curve.tokens.tolist() == [0, 3_000, 6_000]
    assert curve.minutes.tolist() == [0, 0.5, 1.0]


def test_a_run_without_evaluations_has_no_curve(tmp_path):
    assert read_curve(tmp_path, "mlm_loss") is None


def test_band_holds_all_seeds_where_all_are():
    x = np.array([0.0, 1.0, 2.0])
    curves = [Curve(x * k, x, np.array([3.0, 2.0, 1.0]) * k) for k in (1, 2, 3)]
    found = band(curves, "minutes")
    assert found.x.tolist() == [0, 1, 2]
    assert (found.low.tolist(), found.high.tolist()) == ([3, 2, 1], [9, 6, 3])
    assert found.median.tolist() == [6, 4, 2]
    assert band(curves, "tokens").x[-1] == 2


def test_seeds_that_are_never_in_the_same_minute_are_drawn_one_after_the_other():
    slow = Curve(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([2.0, 1.0]))
    fast = Curve(np.array([1.0, 2.0]), np.array([0.5, 2.0]), np.array([3.0, 2.0]))
    found = band([slow, fast], "minutes")
    assert found.x.tolist() == [0.5, 2, 3, 4]
    assert found.low.tolist() == found.high.tolist() == [3, 2, 2, 1]


def test_bits_per_byte_where_tokenizers_differ(results):
    rows = [replace(row, settings={"tokenizer.kind": row.name}) for row in results.rows]
    assert curve_metric(results) == "mlm_loss"
    assert curve_metric(replace(results, rows=tuple(rows))) == "bits_per_byte"


def test_nothing_to_show_makes_no_plot(results, tmp_path):
    alone = replace(
        results,
        rows=tuple(row for row in results.rows if row.name == results.baseline),
        measurements=tuple(m for m in results.measurements if m.row == results.baseline),
        pretraining_runs={},
    )
    assert plots.write(alone, build(alone), tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_many_rows_keep_different_lines():
    styles = [plots.line_style(place, place == 0) for place in range(29)]
    assert len({(style["color"], style["ls"]) for style in styles}) == 29


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (950, "950"), (2_500_000, "2.5M"), (1e9, "1B"), (4e3, "4K")]
)
def test_large_numbers_are_short(value, shown):
    assert plots.thousands(value, 0) == shown
