"""`launch/benchmark.py step` against a rival, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Command


@pytest.fixture
def tiniest(prose, cache) -> list[str]:
    """Fields of a model that costs nothing."""
    return [
        f"data.sources=[{{kind: text, path: {prose}}}]",
        f"data.cache={cache}",
        "data.heldout_fraction=0.1",
        "tokenizer={vocabulary_size: 400}",
        "model={layers: 1, hidden_size: 32, heads: 2, feed_forward_size: 64}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("rival", ["shipped"])
def test_a_race_prints_a_table_and_writes_json(rival, tiniest, tmp_path):
    done = Command(
        "benchmark.py",
        *("step", "--size", "small", "--length", "32", "--rounds", "1", "--seconds", "0.1"),
        *("--precision", "fp32"),
        *("--only", rival, "--json", "out.json", "--traces", "traces"),
        *tiniest,
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


@pytest.mark.slow
def test_a_neighbour_is_measured_in_both_ways_of_waiting(tiniest, tmp_path):
    done = Command(
        "benchmark.py",
        *("neighbour", "--json", "out.json"),
        *tiniest,
        cwd=tmp_path,
    ).finish(timeout=300)
    assert done.returncode == 0, done.stderr
    assert "busy machine" in done.stdout and "idle machine" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())["neighbour"]
    rates = [rate for lane in found.values() for turns in lane.values() for rate in turns]
    assert len(rates) == 12 and min(rates) > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["step", "--only", "nobody"], "--only nobody: no rival is called so: Hugging Face"),
        (["step", "modle.layers=2"], "unknown key 'modle'; did you mean 'model'?"),
        (["step", "--length", "9999"], "max_length=9999 is beyond the position table"),
        (["step", "--rounds", "0"], "--rounds 0 must be at least 1"),
        (["startup", "seed=x"], "seed"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, said, tmp_path):
    done = Command("benchmark.py", *words, cwd=tmp_path).finish(timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
