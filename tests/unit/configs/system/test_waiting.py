"""What waits says for what, and who is in its way."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from configs.system import waiting

HOLD = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(waiting, "NEXT_SECONDS", 0.2)
    monkeypatch.delenv("RANK", raising=False)


def test_a_lock_names_its_holder_and_is_free_once_that_is_killed(tmp_path):
    path = tmp_path / "store.lock"
    words = [sys.executable, "-c", HOLD, str(path)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    wait = f"""
import sys
from pathlib import Path
from configs.system import waiting
from launch.command import show_logs
show_logs()
waiting.FIRST_SECONDS = waiting.NEXT_SECONDS = 0.2
with waiting.locked(Path({str(path)!r}), "the store"):
    print("got it")
"""
    waiter = subprocess.Popen(
        [sys.executable, "-c", wait], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines = [waiter.stderr.readline() for _ in range(2)]
    holder.kill()
    holder.wait()
    out, _ = waiter.communicate(timeout=30)
    assert out == "got it\n"
    assert lines[0].startswith("waiting for the store: ")
    assert lines[0].endswith(f" s so far ({path} is held by process {holder.pid})\n")


def test_what_is_quick_says_nothing(tmp_path, console):
    with waiting.locked(tmp_path / "lock", "nobody"), waiting.announced("nothing"):
        pass
    time.sleep(0.5)
    assert console.readouterr().err == ""


@pytest.mark.parametrize(("rank", "speaks"), [("0", True), ("1", True), ("2", False)])
def test_two_ranks_of_many_speak(monkeypatch, console, rank, speaks):
    monkeypatch.setenv("RANK", rank)
    with waiting.announced("rank 0", lambda: "it is late"):
        time.sleep(0.5)
    assert (console.readouterr().err.count(" s so far (it is late)") > 0) is speaks


def test_a_holder_that_cannot_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "LOCKS", tmp_path / "none")
    (tmp_path / "lock").touch()
    assert waiting.holder(tmp_path / "lock").endswith(
        "lock is held by a process of another machine"
    )
