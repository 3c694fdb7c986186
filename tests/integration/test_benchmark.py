"""`launch/benchmark.py step` against a rival, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Command


@pytest.mark.parametrize("rival", ["shipped"])
def test_a_race_prints_a_table_and_writes_json(rival, prose, cache, tmp_path):
    done = Command(
        "benchmark.py",
        *("step", "--size", "small", "--length", "32", "--rounds", "1", "--seconds", "0.1"),
        *("--precision", "fp32"),
        *("--only", rival, "--json", "out.json", "--traces", "traces"),
        f"data.sources=[{{kind: text, path: {prose}}}]",
        f"data.cache={cache}",
        "data.heldout_fraction=0.1",
        "tokenizer={vocabulary_size: 400}",
        "model={layers: 1, hidden_size: 32, heads: 2, feed_forward_size: 64}",
        cwd=tmp_path,
    ).finish(timeout=300)
    assert done.returncode == 0, done.stderr
    assert "of peak" in done.stdout and rival in done.stdout and "failed" not in done.stdout
    result = json.loads((tmp_path / "out.json").read_text())
    ours, theirs = result["races"][0]["lanes"]
    traces = {path.name.split()[0] for path in (tmp_path / "traces").iterdir()}
    assert traces == {"small-32-fp32"} and len(list((tmp_path / "traces").iterdir())) == 2
    assert ours["rounds"][0]["tokens"] > 0 and theirs["ratio"] > 0
    assert {goal["found"] for goal in result["goals"]} > {"not measured"}


def test_an_unknown_rival_is_refused(tmp_path):
    done = Command("benchmark.py", "step", "--only", "nobody", cwd=tmp_path).finish(timeout=120)
    assert done.returncode == 2
    assert done.stderr.strip().startswith("error: --only nobody: no rival is called so: Hugging")
