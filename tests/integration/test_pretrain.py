"""The main job, by the commands a person types."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from configs.system.run_folder import RunFolder
from configs.system.version import source_fingerprint
from tests.conftest import Command, deepspeed
from tests.forked import run_script

pytestmark = pytest.mark.distributed
CONTENTS = (
    "config.yaml",
    "environment.json",
    "metrics.jsonl",
    "status",
    "tensorboard",
    "checkpoints",
    "plots/curves.png",
    "export/config.json",
    "export/model.safetensors",
    "tokenizer",
)


def losses(run_dir: Path) -> list[float]:
    records = RunFolder(run_dir).read_metrics()
    return [record["mlm_loss"] for record in records if record["kind"] == "train"]


def tokens(run_dir: Path) -> list[float]:
    """The total of tokens at each line of the log."""
    records = RunFolder(run_dir).read_metrics()
    return [record["tokens"] for record in records if record["kind"] == "train"]


def final_weights(run_dir: Path) -> dict[str, np.ndarray]:
    return load_file(sorted((run_dir / "checkpoints").iterdir())[-1] / "model.safetensors")


@pytest.fixture(scope="module")
def single(tiny, tmp_path_factory) -> tuple[Path, str]:
    """(run folder, console) of one undisturbed run on one rank, started from another folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    command = Command("pretrain.py", "--config", tiny, cwd=folder, launcher=deepspeed(1))
    done = command.finish()
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "tiny", done.stdout


def test_the_run_folder_explains_itself(single):
    run_dir, _ = single
    for name in CONTENTS:
        assert (run_dir / name).exists(), name
    assert (run_dir / "status").read_text().strip() == "completed"
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment["precision"] == "fp32"
    assert environment["precision_reason"] == "engine.precision=fp32"
    assert environment["compile"] is False
    assert {"precision_source", "tokenizer", "corpus", "code", "packages"} <= set(environment)
    assert environment["source"] == source_fingerprint()
    assert [start["step"] for start in environment["starts"]] == [0]
    kinds = {record["kind"] for record in RunFolder(run_dir).read_metrics()}
    assert kinds == {"baseline", "train", "heldout", "words", "plateau"}


def test_the_console_tells_decisions_progress_and_results(single):
    _, console = single
    for text in (
        "full-sentences",
        "dynamic masking",
        "parameters",
        "<mask>",
        "predict",
        "held-out loss of the unigram distribution",
        "tokens/s",
        "MFU",
        "left",
        "bits per byte",
        "curves.png",
    ):
        assert text in console, text


def test_the_model_learns(single):
    run_dir, _ = single
    curve = losses(run_dir)
    assert len(curve) == 8
    assert curve[-1] < curve[0] - 0.1


def test_tensorboard_holds_the_same_curve(single):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir, _ = single
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    scalars = [event.value for event in events.Scalars("train/mlm_loss")]
    np.testing.assert_allclose(scalars, losses(run_dir), rtol=1e-6)


def test_two_ranks_give_the_same_curve(single, tiny, tmp_path):
    run_dir, _ = single
    command = Command("pretrain.py", "--config", tiny, cwd=tmp_path, launcher=deepspeed(2))
    done = command.finish()
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "runs/tiny"), losses(run_dir), rtol=1e-4)


def test_killed_and_resumed_ends_with_the_same_bits(single, tiny, tmp_path):
    run_dir, _ = single
    arguments = ("pretrain.py", "--config", tiny)
    interrupted = Command(*arguments, cwd=tmp_path)
    checkpoints = tmp_path / "runs/tiny/checkpoints"
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("step-*2")) and time.monotonic() < deadline:
        time.sleep(0.01)
    interrupted.kill()
    interrupted.finish()
    reached = len(losses(tmp_path / "runs/tiny"))
    assert 2 <= reached < 8, f"killed at step {reached}: too early or too late to tell anything"
    done = run_script(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumed at step" in done.stdout
    assert losses(tmp_path / "runs/tiny") == losses(run_dir)
    assert tokens(tmp_path / "runs/tiny") == tokens(run_dir)
    starts = json.loads((tmp_path / "runs/tiny/environment.json").read_text())["starts"]
    assert [start["step"] > 0 for start in starts] == [False, True]
    for name, expected in final_weights(run_dir).items():
        np.testing.assert_array_equal(
            final_weights(tmp_path / "runs/tiny")[name], expected, err_msg=name
        )


def test_a_loss_that_is_not_finite_stops_the_run_in_words(tiny, launch, tmp_path):
    overrides = ("optimizer.learning_rate=1e30", "safety.max_skipped_steps=3")
    done = launch("pretrain.py", "--config", tiny, *overrides)
    assert done.returncode == 1
    assert "error: loss or gradient is not finite at step" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "runs/tiny/status").read_text().strip() == "failed"
    assert (tmp_path / "runs/tiny/dumps/step-00000001-rank-0.json").is_file()
    again = launch("replay.py", "--run", "runs/tiny", "--step", "3")
    assert again.returncode == 0, again.stderr
    assert "step 3 with the weights of runs/tiny/checkpoints/step-00000002" in again.stdout
    assert re.search(r"\d+ samples, \d+ of them without a finite gradient", again.stdout)


def test_a_signal_to_one_rank_makes_all_leave_with_a_checkpoint(single, tiny, tmp_path):
    run_dir, mine = single[0], tmp_path / "runs/tiny"
    arguments = ("pretrain.py", "--config", tiny, "checkpoint.every_steps=1000")
    command = Command(*arguments, cwd=tmp_path, launcher=deepspeed(2))
    deadline = time.monotonic() + 200
    while not losses(mine) and time.monotonic() < deadline:
        time.sleep(0.01)
    rank = next(p for p in ranks_of(command) if "--local_rank=1" in p.cmdline())
    rank.send_signal(signal.SIGUSR1)
    done = command.finish()
    assert done.returncode == 0, done.stderr
    assert (mine / "status").read_text() == "preempted\n"
    step, reason = (mine / "REQUEUE").read_text().split()
    assert reason == "SIGUSR1"
    assert [path.name for path in (mine / "checkpoints").iterdir()] == [f"step-{int(step):08d}"]
    assert f"leaving at step {step} (SIGUSR1)" in done.stdout
    again = Command(*arguments, cwd=tmp_path, launcher=deepspeed(2)).finish()
    assert again.returncode == 0, again.stderr
    assert (mine / "status").read_text() == "completed\n"
    assert not (mine / "REQUEUE").exists()
    np.testing.assert_allclose(losses(mine), losses(run_dir), rtol=1e-4)


def ranks_of(command: Command) -> list[psutil.Process]:
    """The training processes behind a launcher."""
    children = psutil.Process(command.process.pid).children(recursive=True)
    return [p for p in children if any("--local_rank" in word for word in p.cmdline())]


def test_the_end_of_its_time_makes_a_run_leave(tiny, launch, tmp_path):
    overrides = ("schedule.max_steps=100000", "safety.stop_after_minutes=0.1")
    done = launch("pretrain.py", "--config", tiny, *overrides)
    assert done.returncode == 0, done.stderr
    assert "safety.stop_after_minutes=0.1 are over" in done.stdout
    assert (tmp_path / "runs/tiny/status").read_text() == "preempted\n"
    assert list((tmp_path / "runs/tiny/checkpoints").iterdir())


LIMITS = {
    "max_minutes=0.03": None,
    "max_tokens=2000": 4,
    "max_epochs=0.02": None,
}


@pytest.mark.parametrize("limit", LIMITS)
def test_other_limits_end_the_run(tiny, tmp_path, limit):
    """Two ranks where a clock decides, which they must agree on; steps are the same on any."""
    launcher = deepspeed(2) if "minutes" in limit else ()
    overrides = ("schedule.max_steps=null", f"schedule.{limit}", "evaluation.every_steps=1000")
    command = Command("pretrain.py", "--config", tiny, *overrides, cwd=tmp_path, launcher=launcher)
    done = command.finish()
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / "runs/tiny"
    assert (run_dir / "status").read_text().strip() == "completed"
    steps = len(losses(run_dir))
    assert steps == LIMITS[limit] or (LIMITS[limit] is None and 0 < steps < 2000)
    scored = [r["step"] for r in RunFolder(run_dir).read_metrics() if r["kind"] == "heldout"]
    assert scored == [steps], "scored once, at the end: new weights know nothing"


def test_two_preparations_at_once_do_not_harm_each_other(tiny, tmp_path):
    override = f"data.cache={tmp_path / 'cache'}"
    arguments = ("prepare.py", "--config", tiny, override)
    both = [Command(*arguments, cwd=tmp_path) for _ in range(2)]
    first, second = (command.finish() for command in both)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout == second.stdout
    assert "full-sentences" in first.stdout and "fertility" in first.stdout
    stores = [p for p in (tmp_path / "cache/stores").iterdir() if p.is_dir()]
    assert len(stores) == 1, "one builds, the other waits and reuses"


def test_a_second_run_reuses_the_store_and_a_changed_source_rebuilds_it(prose, tiny, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(prose.read_text(encoding="utf-8"), encoding="utf-8")
    arguments = (
        "prepare.py",
        "--config",
        tiny,
        f"data.cache={tmp_path / 'cache'}",
        f"data.sources.0.path={text}",
    )

    def store() -> tuple[str, bool]:
        done = run_script(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[1], "tokenised" in done.stderr

    first, built = store()
    assert built
    assert store() == (first, False)
    text.write_text(text.read_text(encoding="utf-8") + "\n\nOne more document.", encoding="utf-8")
    changed, rebuilt = store()
    assert changed != first and rebuilt
