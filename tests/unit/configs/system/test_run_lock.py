"""One owner of a run folder: who is refused, who takes over, and what ends with the folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import RunError
from configs.system import run_lock
from configs.system.files import write_text
from configs.system.lock_holder import SILENT_MINUTES, Holder
from configs.system.run_folder import RunFolder
from configs.system.run_lock import (
    Taken,
    claimed,
    exclusive,
    find_holder,
    is_taken,
    require_ours,
    take,
)
from tests.conftest import ROOT

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from configs.system.run_lock import take
lock = take(Path(sys.argv[1]))
{}
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold():
    """`hold(folder)`: a process that holds its lock and does more, if told; killed in the end."""
    started = []

    def start(folder: Path, more: str = "", **options) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD.format(more), str(folder)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True, **options
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def die(process: subprocess.Popen) -> None:
    """SIGKILL to the process alone, not to what it started."""
    process.kill()
    process.wait()


def test_the_second_is_told_who_holds_it_since_when(tmp_path, hold):
    first = hold(tmp_path / "run")
    said = (tmp_path / "run" / "lock").read_bytes()
    with pytest.raises(Taken) as refused:
        take(tmp_path / "run")
    holder = Holder.read(tmp_path / "run" / "lock")
    assert holder.pid == first.pid and holder.command[0] == "-c" and not holder.ended
    for word in (str(first.pid), holder.host, holder.since, str(tmp_path / "run")):
        assert word in str(refused.value)
    assert find_holder(tmp_path / "run") == holder
    assert (tmp_path / "run" / "lock").read_bytes() == said


def test_a_stopped_owner_lives_and_a_killed_one_does_not(tmp_path, hold):
    first = hold(tmp_path)
    first.send_signal(signal.SIGSTOP)
    with pytest.raises(Taken):
        take(tmp_path, patience=0.3)
    die(first)
    lock = take(tmp_path)
    assert is_taken(tmp_path) and Holder.read(tmp_path / "lock").pid == os.getpid()
    lock.release()
    assert (tmp_path / "lock").is_file() and not is_taken(tmp_path)


@pytest.mark.parametrize(
    "start",
    [
        "if os.fork() == 0: time.sleep(60)",
        "subprocess.Popen(['sleep', '60'], close_fds=False)",
    ],
)
def test_what_a_run_starts_does_not_inherit_its_lock(tmp_path, hold, start):
    die(hold(tmp_path, start))
    take(tmp_path, patience=5).release()  # a child that was just forked has not run yet


def test_a_child_takes_over_the_lock_that_it_is_handed(tmp_path, hold):
    lock = take(tmp_path)
    given = {run_lock.INHERITED: str(lock.descriptor)}
    child = hold(tmp_path, pass_fds=(lock.descriptor,), env={**os.environ, **given})
    lock.hand_over()
    assert find_holder(tmp_path).pid == child.pid
    die(child)
    assert not is_taken(tmp_path)


def test_a_descriptor_of_something_else_is_no_lock(tmp_path, hold, monkeypatch):
    hold(tmp_path / "run")
    with (tmp_path / "other").open("w") as other:
        monkeypatch.setenv(run_lock.INHERITED, str(other.fileno()))
        with pytest.raises(Taken):
            take(tmp_path / "run")


def test_a_requeued_job_waits_for_its_predecessor_and_says_so(tmp_path, hold, monkeypatch, console):
    assert run_lock.patience() == run_lock.SHORT_PATIENCE
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_lock.patience() == run_lock.LONG_PATIENCE
    first = hold(tmp_path)
    subprocess.Popen(["bash", "-c", f"sleep 0.5; kill -9 {first.pid}"])
    take(tmp_path, run_lock.patience()).release()
    assert f"waiting up to 180 s for its lock (process {first.pid} on " in console.readouterr().out


def test_nothing_is_left_of_a_folder_in_which_nothing_came(tmp_path):
    take(tmp_path / "runs" / "new").release()
    assert not (tmp_path / "runs" / "new").exists()
    lock = take(tmp_path / "runs" / "new")
    (tmp_path / "runs" / "new" / "config.yaml").touch()
    lock.release()
    assert (tmp_path / "runs" / "new" / "lock").is_file()


def test_a_folder_that_is_replaced_is_locked_beside_it(tmp_path, hold):
    with exclusive(tmp_path / "export"), pytest.raises(Taken), exclusive(tmp_path / "export", 0.2):
        pass
    assert not list(tmp_path.iterdir())


def test_asking_leaves_no_trace(tmp_path):
    assert not is_taken(tmp_path) and not is_taken(tmp_path / "none")
    assert not list(tmp_path.iterdir())


def leave(folder: Path, **changes: object) -> None:
    """A lock's file as a holder has left it."""
    with (folder / "lock").open("w") as file:
        replace(Holder.here(), **changes).write(file.fileno())


def move(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def give_away(folder: Path) -> None:
    (folder / "lock").unlink()
    leave(folder, pid=1)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (shutil.rmtree, "was deleted or moved"),
        (move, "was deleted or moved"),
        (give_away, "has a new owner (process 1 on "),
    ],
)
def test_a_run_that_has_lost_its_folder_writes_nothing_more(tmp_path, what, words):
    folder = tmp_path / "run"
    lock = take(folder)
    with claimed(folder, lock.token):
        RunFolder(folder).write_status("running")
        require_ours(folder / "checkpoints")
        what(folder)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(RunError) as lost:
            RunFolder(folder).write_status("failed")
        assert words in str(lost.value) and "\n" not in str(lost.value)
        with pytest.raises(RunError):
            write_text(folder / "report.md", "")
        write_text(tmp_path / "other", "")
        assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "other"])
        assert RunFolder(folder).read_status() in (None, "running")
    lock.release()
    RunFolder(folder).write_status("running")


# -- file systems without locks --------------------------------------------------------------------


@pytest.fixture(params=run_lock.NO_LOCKS)
def without_locks(request, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(run_lock, "RACE_SECONDS", 0.01)
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)


def test_without_locks_the_living_are_refused(tmp_path, without_locks):
    lock = take(tmp_path)
    assert is_taken(tmp_path)
    with pytest.raises(Taken):
        take(tmp_path)
    lock.release()
    assert not is_taken(tmp_path)
    take(tmp_path).release()


def test_without_locks_a_process_is_known_by_its_birth(tmp_path, without_locks, console):
    leave(tmp_path, born="1")
    take(tmp_path).release()
    assert "that process is gone: taking it over" in console.readouterr().out


def test_without_locks_a_heartbeat_tells_of_other_hosts(tmp_path, without_locks, console):
    leave(tmp_path, host="another", born="1")
    with pytest.raises(Taken, match="on another"):
        take(tmp_path)
    old = time.time() - 60 * SILENT_MINUTES - 60
    os.utime(tmp_path / "lock", (old, old))
    lock = take(tmp_path)
    assert "silent for 6 minutes: taking it over" in console.readouterr().out
    os.utime(tmp_path / "lock", (old, old))
    time.sleep(0.2)
    assert (tmp_path / "lock").stat().st_mtime > old
    lock.release()


def test_another_trouble_with_locks_is_told(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"):
        take(tmp_path)
