"""Whether a ranking holds at another scale."""

from __future__ import annotations

import json

import pytest

from configs.errors import InputError
from launch.ablation.report.transfer import Agreement, Ranking, transfer

SMALL = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}


def write(folder, scale: str, medians: dict[str, float | None]) -> None:
    """A table of one metric; a row whose median is None ends on the plateau."""
    cells = {
        row: {"refused": "" if value else "plateau", "summary": {"median": value or 9}}
        for row, value in medians.items()
    }
    rows = [{"name": row, "cells": {"mlm_loss": cell}} for row, cell in cells.items()]
    metrics = [
        {"name": "mlm_loss", "label": "MLM loss", "higher_is_better": False, "is_result": True},
        {"name": "parameters", "label": "P", "higher_is_better": False, "is_result": False},
    ]
    (folder / scale).mkdir()
    (folder / scale / "table.json").write_text(json.dumps({"rows": rows, "metrics": metrics}))


def of(large: dict[str, float]) -> Agreement:
    return Agreement.of(Ranking("s", "x", False, SMALL), Ranking("l", "x", False, large))


def test_pairs_in_the_same_order_are_counted():
    same = of({name: 10 * value for name, value in SMALL.items()})
    assert (same.right, same.pairs, same.correlation, same.same_best) == (6, 6, 1.0, True)
    swapped = of({"a": 4.0, "b": 3.0, "c": 1.0, "d": 2.0, "e": 0.0})
    assert (swapped.right, swapped.pairs, swapped.same_best) == (5, 6, False)
    assert swapped.correlation == pytest.approx(0.8)
    equal = of(dict.fromkeys(SMALL, 1.0))
    assert (equal.right, equal.correlation) == (3, None)


def test_scales_are_compared_one_after_the_other(tmp_path):
    write(tmp_path, "tiny", {"a": 4.0, "b": 3.0, "c": 1.0})
    write(tmp_path, "small", {"a": 3.0, "b": 1.0, "c": 2.0})
    write(tmp_path, "base", {"a": None, "b": 1.0, "c": 2.0})
    header, *lines = transfer(tmp_path, ["tiny", "small", "base"]).splitlines()
    assert header.split()[:3] == ["metric", "from", "to"]
    assert lines[0].split()[2:7] == ["tiny", "small", "3", "2/3", "67%"] and "c → b" in lines[0]
    assert lines[1].split()[2:7] == ["small", "base", "2", "1/1", "100%"] and len(lines) == 2


def test_what_cannot_be_compared_is_one_line(tmp_path):
    write(tmp_path, "tiny", SMALL)
    write(tmp_path, "other", {"x": 1.0, "y": 2.0})
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "table.json").write_text('{"rows": []}')
    for scales, said in (
        (["tiny"], "name two scales"),
        (["tiny", "base"], "base/table.json: no table there: run the ablation with --scale base"),
        (["tiny", "other"], "share no metric of 2 rows"),
        (["tiny", "torn"], "torn/table.json: no table of an ablation: make it again"),
    ):
        with pytest.raises(InputError, match=said) as error:
            transfer(tmp_path, scales)
        assert "\n" not in str(error.value)
