"""Told to leave before the first step: within seconds, in one line, on all ranks, at any moment."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from configs.system.run_folder import RunFolder
from tests.conftest import ROOT, Command, deepspeed
from tests.forked import run_script

pytestmark = pytest.mark.distributed
LEFT = "leaving before the first step ({}): the same command resumes"
INTERRUPTED = "error: interrupted; run the same command to resume from the last checkpoint"


@pytest.fixture(scope="module")
def busy(tiny, tmp_path_factory):
    """The words of a run that waits for its text, as another process has the lock."""
    folder = tmp_path_factory.mktemp("busy")
    words = ("--config", tiny, f"data.cache={folder / 'cache'}")
    done = run_script("prepare.py", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    (store,) = (path for path in (folder / "cache/stores").iterdir() if path.is_dir())
    shutil.rmtree(store)
    with FileLock(store.with_name(f"{store.name}.lock")):
        yield ("pretrain.py", *words)


def start_waiting(command: Command) -> list[str]:
    """Read what it says until it waits for the lock."""
    late = threading.Timer(120, command.kill)
    late.start()
    lines = []
    for line in command.process.stderr:
        lines.append(line)
        if "waiting for another process to make" in line:
            break
    late.cancel()
    return lines


def ranks_of(command: Command) -> list[psutil.Process]:
    children = psutil.Process(command.process.pid).children(recursive=True)
    found = [p for p in children if any("--local_rank" in word for word in p.cmdline())]
    ranks = [p for p in found if "launch.py" not in " ".join(p.cmdline()[:4])]
    return sorted(ranks, key=lambda p: int(p.environ()["RANK"]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_run_that_waits_leaves(busy, tmp_path, number):
    command = Command(*busy, cwd=tmp_path)
    start_waiting(command)
    command.process.send_signal(number)
    done = command.finish(30)
    if number == signal.SIGINT:
        assert (done.returncode, done.stdout, done.stderr) == (130, "", INTERRUPTED + "\n")
        return
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == LEFT.format(number.name) + "\n"
    assert RunFolder(tmp_path / "runs/tiny").read_status() == "preempted"
    assert (tmp_path / "runs/tiny/REQUEUE").read_text() == f"0 {number.name}\n"


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_end_of_its_time_ends_a_preparation(busy, tmp_path, ranks):
    launcher = deepspeed(2) if ranks == 2 else ()
    minutes = "safety.stop_after_minutes=0.05"
    done = Command(*busy, minutes, cwd=tmp_path, launcher=launcher).finish(60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(LEFT.format(f"{minutes} are over")) == 1
    assert "Traceback" not in done.stderr
    assert RunFolder(tmp_path / "runs/tiny").read_status() == "preempted"
    assert (tmp_path / "runs/tiny/REQUEUE").read_text() == f"0 {minutes} are over\n"


def test_a_signal_to_one_rank_makes_all_leave(busy, tmp_path):
    command = Command(*busy, cwd=tmp_path, launcher=deepspeed(2))
    start_waiting(command)
    ranks_of(command)[1].send_signal(signal.SIGUSR2)
    done = command.finish(60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(LEFT.format("SIGUSR2")) == 1
    assert "Traceback" not in done.stderr
    assert RunFolder(tmp_path / "runs/tiny").read_status() == "preempted"


def test_ctrl_c_ends_all_ranks_with_130(busy, tmp_path):
    command = Command(*busy, cwd=tmp_path, launcher=deepspeed(2))
    start_waiting(command)
    ranks = ranks_of(command)
    for rank in ranks:  # as a terminal does
        rank.send_signal(signal.SIGINT)
    codes = [rank.wait(30) for rank in ranks]
    done = command.finish(60)
    assert len(codes) == 2 and done.returncode != 0
    assert done.stderr.count(INTERRUPTED) == 1, done.stderr
    assert "exits with return code = 130" in done.stderr + done.stdout, done.stderr
    assert "File " not in done.stderr.replace("subprocess", ""), done.stderr


def test_a_rank_that_is_alone_leaves(tiny, tmp_path, monkeypatch):
    from pretrain.ranks.local import free_port

    given = dict(RANK="0", LOCAL_RANK="0", WORLD_SIZE="2", MASTER_PORT=str(free_port()))
    command = Command("pretrain.py", "--config", tiny, cwd=tmp_path, environment=given)
    for line in command.process.stderr:
        if "to join" in line:
            break
    command.process.send_signal(signal.SIGTERM)
    done = command.finish(60)
    assert (done.returncode, done.stdout) == (0, LEFT.format("SIGTERM") + "\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_end_changes_nothing(number):
    """The interpreter gives signals their defaults back before it takes its modules apart."""
    script = (
        "from pretrain.ranks.leaving import LEAVING\n"
        "LEAVING.listen(notices=True)\n"
        "import builtins, os\n"
        "from launch.command import run\n"
        "class Last:\n"
        f"    def __del__(self, kill=os.kill, own=os.getpid()): kill(own, {int(number)})\n"
        "builtins.last = Last()\n"
        "run(lambda: print('done'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["pretrain", "finetune"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_ten_moments_of_a_start(tiny, request, tmp_path, script, number):
    config = tiny if script == "pretrain" else request.getfixturevalue("tiny_task")
    chance, words = random.Random(0), (f"{script}.py", "--config", config, "run_dir=run")
    for turn in range(10):
        own = () if script == "finetune" else (f"data.cache={tmp_path / str(turn)}",)
        command = Command(*words, *own, cwd=tmp_path)
        time.sleep(chance.uniform(0.3, 6))
        command.process.send_signal(number)
        done = command.finish(60)
        assert done.returncode in (0, 130 if number == signal.SIGINT else 0), done.stderr
        assert "Traceback" not in done.stderr
    done = run_script(*words, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_killed_at_ten_moments_of_a_start_it_starts_again(tiny, tmp_path):
    chance = random.Random(1)
    words = ("pretrain.py", "--config", tiny, "run_dir=run", f"data.cache={tmp_path / 'cache'}")
    for _ in range(10):
        command = Command(*words, cwd=tmp_path, launcher=deepspeed(2))
        time.sleep(chance.uniform(0.1, 6))
        command.kill()
        command.finish(60)
    done = Command(*words, cwd=tmp_path, launcher=deepspeed(2)).finish(120)
    assert done.returncode == 0, done.stderr
    assert RunFolder(tmp_path / "run").read_status() == "completed"
    left = [path for path in Path(tmp_path / "cache").rglob(".*") if path.suffix != ".lock"]
    assert not [path for path in left if path.is_dir()], left
