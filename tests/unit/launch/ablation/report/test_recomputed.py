"""A table against one that is made of the same run folders by other code."""

from __future__ import annotations

import numpy as np
import pytest

from configs.ablation_schema import slug
from launch.ablation.measure import collect
from launch.ablation.report.result_table import build
from tests.recomputed_table import recompute
from tests.unit.launch.ablation.example_runs import finish, make_grid

EFFECTS = {"plain": 0.0, "much better": -9.0, "worse": 4.0, "a hair": -0.02, "noise": 0.3}


def test_other_code_finds_the_same_in_the_run_folders(tmp_path):
    axes = {"change": {name: {"log_every_steps": n + 1} for n, name in enumerate(EFFECTS)}}
    wishes = {"metrics": ["perplexity"], "same_within": {"perplexity": 0.5}}
    grid = make_grid(tmp_path, axes=axes, seeds=[0, 1, 2, 3], **wishes)
    draw = np.random.default_rng(1)
    for run in grid.distinct_runs():
        spread = 0.6 if run.row in ("worse", "noise") else 0.05
        finish(run, 100 + 10 * run.seed + EFFECTS[run.row] + spread * draw.normal())
    expected = recompute(grid.folder, "perplexity", "plain", 0.5)
    table = build(collect(grid))
    for row in table.rows[1:]:
        own, other = row.cells["perplexity"].difference, expected[slug(row.name)]
        assert own.verdict == other["verdict"]
        assert own.p_value == pytest.approx(other["p"])
        assert own.p_holm == pytest.approx(other["p_holm"])
        assert own.p_same_holm == pytest.approx(other["same_holm"])
    found = {row.name: row.cells["perplexity"].difference.verdict for row in table.rows[1:]}
    assert list(found.values()) == ["better", "worse", "the same", "cannot tell"]
