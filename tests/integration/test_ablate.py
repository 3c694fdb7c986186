"""launch/ablate.py with real runs: killed, started again, twice at once, and its table."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.forked import run_script

pytestmark = pytest.mark.distributed

ABLATION = """
title: Masking
recipe: {tiny}
seeds: [0]
fields: {{schedule.max_steps: 60, checkpoint.every_steps: 5, evaluation.every_steps: 30}}
scales: {{tiny: {{}}, long: {{fields: {{schedule.max_steps: 70}}}}}}
axes: {{masking: {{static: {{mask_epochs: 1}}, dynamic: {{}}}}}}
metrics: [perplexity, fertility, parameters]
"""


@pytest.fixture
def ablation(tiny, tmp_path) -> Path:
    path = tmp_path / "masks.yaml"
    path.write_text(ABLATION.format(tiny=tiny), encoding="utf-8")
    return path


def processes(word: str) -> list[int]:
    """Ids of the running processes whose command names `word`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        if any(w.endswith(word) for w in words):
            found.append(int(path.parent.name))
    return found


def starts(folder: Path) -> list[int]:
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return [start["step"] for start in environment["starts"]]


@pytest.mark.slow
def test_a_grid_survives_a_kill_and_is_shared_by_two_launchers(ablation, tmp_path):
    words = ("ablate.py", "--config", ablation, "--jobs", 2)
    static, dynamic = (
        tmp_path / "runs/ablations/masks/tiny" / row / "seed0" for row in ("static", "dynamic")
    )
    launcher = Command(*words, cwd=tmp_path)
    while not list(static.glob("checkpoints/step-*")) or not (dynamic / "status").is_file():
        assert launcher.process.poll() is None, launcher.finish().stderr
        time.sleep(0.02)
    launcher.kill()
    for process in processes("static/seed0/job.yaml"):
        os.kill(process, signal.SIGKILL)
    together = [Command(*words, cwd=tmp_path) for _ in range(2)]
    done = [launcher.finish() for launcher in together]
    for result in done:
        assert result.returncode == 0, result.stderr
        for word in ("Masking", "static", "dynamic", "perplexity", "per word"):
            assert word in result.stdout
    assert len(starts(static)) == 2 and starts(static)[1] >= 5
    assert starts(dynamic) == [0]
    before = {path: path.read_bytes() for path in tmp_path.rglob("metrics.jsonl")}
    again = run_script(*words, cwd=tmp_path)
    assert again.returncode == 0 and " min " not in again.stdout
    assert {path: path.read_bytes() for path in tmp_path.rglob("metrics.jsonl")} == before


def test_bad_input_and_a_dry_run_write_nothing(ablation, tmp_path, launch):
    done = launch("ablate.py", "--config", ablation, "--dry-run", "--scale", "long")
    assert done.returncode == 0, done.stderr
    assert "runs/ablations/masks/long/static/seed0" in done.stdout
    for words, said in (
        (["--scale", "huge"], "this ablation has tiny, long"),
        (["axes.masking.static.maks=1"], "row 'static'"),
        (["--jobs", "0"], "--jobs 0 must be at least 1"),
    ):
        done = launch("ablate.py", "--config", ablation, *words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["masks.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ablations/masking.yaml"], "data/SST-2/train.tsv: no such file"),
        (["ablations/common.yaml"], "axes is empty: name the choices to compare"),
        (["ablations/masking.yaml", "--scale", "huge"], "--scale huge: this ablation has tiny"),
        (["ablations/masking.yaml", "--jobs", "0"], "--jobs 0 must be at least 1"),
        (["ablations/masking.yaml", "fields.modle.layers=2"], "unknown key 'modle'"),
        (["ablations/masking.yaml", "--only", "failed"], "--only failed: every run"),
        (["ablations/maskin.yaml"], "no such file; did you mean"),
        (["ablations/masking.yaml", "schedule.max_steps=20"], "mean 'fields.schedule.max_steps'?"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(words, said, launch, tmp_path):
    done = launch("ablate.py", "--config", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
