"""A trial of fine-tuning that is killed, asked to leave or goes wrong: nothing of it is lost."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.faults.ends import difference, end_of
from tests.forked import run_script

pytestmark = pytest.mark.distributed
FIELDS = ("run_dir=run", "schedule.max_epochs=12", "checkpoint.every_steps=10", "patience=20")


def wait_for(command: Command, pattern: str, folder: Path) -> None:
    """Until something that matches `pattern` is there."""
    deadline = time.monotonic() + 200
    while not list(folder.glob(pattern)):
        assert command.process.poll() is None, command.finish().stderr
        assert time.monotonic() < deadline, pattern
        time.sleep(0.005)


@pytest.fixture(scope="module")
def calm(tiny_task, tmp_path_factory) -> Path:
    """The folder in which a run of 96 steps was left in peace."""
    folder = tmp_path_factory.mktemp("calm")
    done = run_script("finetune.py", "--config", tiny_task, *FIELDS, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not (folder / "run/trials/seed=0/checkpoints").exists()
    return folder


def test_a_killed_trial_is_resumed_and_every_file_is_the_same(tiny_task, calm, tmp_path):
    words = ("finetune.py", "--config", tiny_task, *FIELDS)
    first = Command(*words, cwd=tmp_path)
    wait_for(first, "run/trials/seed=0/checkpoints/step-000000[3-9]0/complete", tmp_path)
    first.kill()
    first.finish()
    assert not (tmp_path / "run/trials/seed=0/result.json").exists(), "killed too late"
    again = run_script(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "seed=0  resumed at step " in again.stdout
    assert not difference(end_of(calm), end_of(tmp_path))


def test_a_trial_that_is_asked_to_leave_saves_and_is_resumed(tiny_task, calm, tmp_path):
    words = ("finetune.py", "--config", tiny_task, *FIELDS, "checkpoint.every_steps=1000")
    first = Command(*words, cwd=tmp_path)
    wait_for(first, "run/trials/seed=0/metrics.jsonl", tmp_path)
    first.process.send_signal(signal.SIGTERM)
    left = first.finish()
    assert left.returncode == 0, left.stderr
    run = tmp_path / "run"
    assert (run / "status").read_text() == "preempted\n"
    step = int((run / "REQUEUE").read_text().split()[0])
    saved = [path.name for path in (run / "trials/seed=0/checkpoints").iterdir()]
    assert step > 0 and saved == [f"step-{step:08d}"]
    other = run_script(*words, "optimizer.learning_rate=0.001", cwd=tmp_path)
    assert other.returncode == 2 and "from another configuration" in other.stderr
    again = run_script(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"seed=0  resumed at step {step}" in again.stdout
    assert not (run / "trials/seed=0/checkpoints").exists()
    for name in ("checkpoints/best/model.safetensors", "predictions.csv"):
        assert (run / name).read_bytes() == (calm / "run" / name).read_bytes(), name


def test_a_step_that_is_not_finite_is_dumped(tiny_task, tmp_path):
    overrides = ("optimizer.learning_rate=1e30", "safety.max_skipped_steps=3", "run_dir=run")
    done = run_script("finetune.py", "--config", tiny_task, *overrides, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: loss or gradient is not finite at step" in done.stderr
    folder = Path("run/trials/seed=0/dumps")
    assert f"what was seen is in {folder}" in done.stdout
    assert f"what they saw is in {folder}" in done.stderr
    dump = json.loads((tmp_path / folder / "step-00000001-rank-0.json").read_text())
    texts = [text for part in dump["micro_batches"] for text in part["texts"]]
    assert texts and all(isinstance(text, str) and text for text in texts)
