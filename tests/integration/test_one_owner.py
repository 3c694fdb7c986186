"""Two starts in one run folder: the second is refused and touches nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from configs.system.run_lock import find_holder, take
from pretrain.ranks.local import free_port
from tests.conftest import Command, deepspeed
from tests.helpers import contents
from tests.integration.test_bad_input import assert_one_line

ENDLESS = ("schedule.max_steps=100000", "run_dir=run", "evaluation.every_steps=100000")
SECONDS = 300
"""that a start may take on a busy machine"""


def stop(run: Command) -> dict[str, bytes]:
    """SIGSTOP; what the folder holds once all threads have stopped."""
    os.killpg(run.process.pid, signal.SIGSTOP)
    now = before = None
    while now is None or now != before:
        time.sleep(0.2)
        before, now = now, contents(run.folder / "run")
    return now


def step(folder: Path) -> int:
    """The last that was logged."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def wait_for_step(run: Command, number: int) -> None:
    end = time.monotonic() + SECONDS
    folder = run.folder / "run"
    while step(folder) < number:
        assert run.process.poll() is None, run.finish().stderr
        assert time.monotonic() < end, "no step was taken"
        time.sleep(0.05)


@pytest.fixture
def start(tiny, tmp_path):
    """`start()` begins an endless run in the folder `run`."""
    started = []

    def begin(**options: object) -> Command:
        run = Command("pretrain.py", "--config", tiny, *ENDLESS, cwd=tmp_path, **options)
        run.folder = tmp_path
        started.append(run)
        return run

    yield begin
    for run in started:
        run.kill()
        run.process.communicate()


def test_a_run_keeps_its_folder_until_it_dies_and_ends_with_it(start, launch, tiny, tmp_path):
    folder, first = tmp_path / "run", start()
    wait_for_step(first, 3)
    before = stop(first)
    second = launch("pretrain.py", "--config", tiny, *ENDLESS, "seed=7")
    assert_one_line(second, f"process {first.process.pid} on ", "since 20")
    assert contents(folder) == before
    os.killpg(first.process.pid, signal.SIGCONT)
    wait_for_step(first, step(folder) + 2)

    first.kill()
    first.process.wait()
    assert find_holder(folder) is None
    before, third = step(folder), start()
    wait_for_step(third, before + 2)
    assert find_holder(folder).pid == third.process.pid
    gone = folder.rename(tmp_path / "gone")  # at once: file by file, the run could add one between
    done = third.finish()
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert len(errors) == 1 and "deleted or moved" in errors[0]
    assert not folder.exists() and step(gone) >= before + 2


@pytest.mark.slow
def test_ranks_are_refused_together(launch, tiny, tmp_path):
    lock = take(tmp_path / "run")
    (tmp_path / "run" / "status").write_text("running\n")
    before = contents(tmp_path / "run")
    done = launch("pretrain.py", "--config", tiny, *ENDLESS, launcher=deepspeed(2))
    assert done.returncode == 2, done.stderr
    assert f"process {os.getpid()} on " in done.stderr and "Traceback" not in done.stderr
    assert contents(tmp_path / "run") == before
    lock.release()


@pytest.mark.slow
@pytest.mark.parametrize("model", [[], ["model=classical"]], ids=["encoder", "classical"])
def test_fine_tuning_is_refused(tiny_task, tiny_finetuned, launch, tmp_path, model):
    folder = shutil.copytree(tiny_finetuned, tmp_path / "run")
    lock = take(folder)
    before = contents(folder)
    done = launch("finetune.py", "--config", tiny_task, "run_dir=run", *model)
    assert_one_line(done, f"process {os.getpid()} on ")
    assert contents(folder) == before
    lock.release()


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_too_few_open_files_for_a_start_are_told_with_the_cure(tiny, tmp_path, ranks):
    words = ("bash", "-c", 'ulimit -n 32; exec "$@"', "-")
    words += deepspeed(2) if ranks == 2 else (sys.executable,)
    done = Command("pretrain.py", "--config", tiny, launcher=words, cwd=tmp_path).finish()
    assert_one_line(done, "at most 32 files may be open", "`ulimit -n 4096`")
    assert not contents(tmp_path)


@pytest.mark.slow
def test_a_rank_that_outlives_the_first_leaves_the_next_run_alone(start, tmp_path):
    def rank(number: int) -> Command:
        names = dict(RANK=number, LOCAL_RANK=number, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2)
        names |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        words = [f"{name}={value}" for name, value in names.items()]
        return start(launcher=("env", *words, sys.executable))

    folder, port = tmp_path / "run", free_port()
    first, second = rank(0), rank(1)
    wait_for_step(first, 3)
    os.killpg(second.process.pid, signal.SIGSTOP)
    first.kill()
    first.process.wait()
    before = step(folder)
    third = start()
    wait_for_step(third, before + 1)
    contents_before = stop(third)
    os.killpg(second.process.pid, signal.SIGCONT)
    done = second.finish()
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert f"the run has a new owner (process {third.process.pid} on " in done.stderr
    assert contents(folder) == contents_before
    os.killpg(third.process.pid, signal.SIGCONT)
