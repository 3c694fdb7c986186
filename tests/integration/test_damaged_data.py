"""Data that is not what was written certifies no checkpoint: real runs on damaged stores."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.data.corpus import prepare_store
from tests.conftest import Command


@pytest.fixture
def store(tiny, tmp_path) -> Path:
    """A copy of `tiny`'s store that a test may damage."""
    made = prepare_store(load_config(PretrainConfig, str(tiny)))
    return Path(shutil.copytree(made, tmp_path / "store"))


def tokens_of(store: Path, split: str = "train") -> Path:
    (path,) = store.glob(f"*/{split}/*.tokens")
    return path


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        (old,) = file.read(1)
        file.seek(path.stat().st_size // 2)
        file.write(bytes([old ^ 1]))


def write_random_ids(path: Path) -> None:
    count = path.stat().st_size // 2
    np.random.default_rng(0).integers(5, 512, count, dtype="<u2").tofile(path)


@pytest.mark.parametrize(
    ("split", "damage"),
    [
        ("train", write_random_ids),
        pytest.param("heldout", flip_a_bit, marks=pytest.mark.slow),
        pytest.param("train", flip_a_bit, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_store_is_refused(tiny, store, launch, tmp_path, split, damage):
    tokens = tokens_of(store, split)
    damage(tokens)
    done = launch("pretrain.py", "--config", tiny, f"data.store={store}", "run_dir=run")
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    assert lines[0].startswith(f"error: {tokens}: content is damaged (block 1 of 1, ")
    assert lines[0].endswith("/store/00000 to make that piece anew")
    assert not (tmp_path / "run").exists()


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1000)


def replace_by_random_ids(path: Path) -> None:
    other = path.with_suffix(".new")
    shutil.copy(path, other)
    write_random_ids(other)
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        cut,
        pytest.param(Path.unlink, marks=pytest.mark.slow),
        pytest.param(flip_a_bit, marks=pytest.mark.slow),
        pytest.param(replace_by_random_ids, marks=pytest.mark.slow),
    ],
)
def test_a_store_that_changes_under_a_run_ends_it(tiny, store, tmp_path, change):
    run, tokens = tmp_path / "run", tokens_of(store)
    command = Command(
        *("pretrain.py", "--config", tiny, f"data.store={store}", "run_dir=run"),
        *("schedule.max_steps=100000", "checkpoint.every_steps=20", "evaluation.every_steps=99999"),
        cwd=tmp_path,
    )
    checkpoints = wait_for_one(run / "checkpoints")
    change(tokens)
    at_change = {path.name for path in checkpoints.glob("step-*")}
    done = command.finish()
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    assert lines[0].startswith(f"error: {tokens}: ")
    assert lines[0].endswith("the same command then resumes from the last checkpoint")
    assert (run / "status").read_text() == "failed\n"
    # One may have been on its way, its data verified, when the file changed.
    assert len({path.name for path in checkpoints.glob("step-*")} - at_change) <= 1
    verified = json.loads((run / "environment.json").read_text())["verified"]
    assert verified["mode"] == "once" and verified["at_step"] >= 20
    assert verified["verified_at_start"] == verified["verified_by_then"] == verified["bytes"]


def wait_for_one(checkpoints: Path) -> Path:
    deadline = time.monotonic() + 240
    while not list(checkpoints.glob("step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return checkpoints
