"""The launcher: order, locks, two at once, failures, signals. Runs are lines of shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from configs.errors import InputError
from configs.system.run_lock import Taken, is_taken, take
from launch.ablation import launcher as launcher_module
from launch.ablation.launcher import Launcher, train_here, visible_gpus
from tests.conftest import ROOT
from tests.unit.launch.ablation.example_runs import find, finish, make_grid

WORK = """
trap 'echo preempted >$0/status; exit 0' TERM
echo running >$0/status; nproc >$0/cores; echo $CUDA_VISIBLE_DEVICES >$0/gpus
echo "start $$" >>$0/starts
for i in $(seq $1); do sleep 0.1; done
echo "$2"; {}; echo completed >$0/status
"""
DRIVE = """
import sys
from pathlib import Path
from launch.command import show_logs
from tests.unit.launch.ablation import example_runs, test_launcher
show_logs()
test_launcher.drive(example_runs.make_grid(Path(sys.argv[1])), tenths=int(sys.argv[2]))
"""


def drive(grid, jobs: int = 1, tenths: int = 0, failing: str = "", only=None) -> dict:
    """Train a grid by shell scripts; that of the run folder `failing` ends with code 1."""

    def command(run) -> list[str]:
        end = "exit 1" if failing and run.run_dir.match(failing) else ":"
        return ["bash", "-c", WORK.format(end), str(run.run_dir), str(tenths), run.name]

    return Launcher(grid, jobs, only, command).train()


def spawn(folder: Path, tenths: int) -> subprocess.Popen:
    """A launcher in a process of its own."""
    words = [sys.executable, "-c", DRIVE, str(folder), str(tenths)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def starts(grid) -> list[int]:
    """How often each run was begun."""
    paths = [run.run_dir / "starts" for run in grid.distinct_runs()]
    return [len(p.read_text().splitlines()) if p.is_file() else 0 for p in paths]


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def grid(tmp_path):
    return make_grid(tmp_path)


def test_every_run_is_trained_once_and_a_second_launcher_finds_nothing_to_do(grid, console):
    assert not drive(grid, jobs=2)
    assert starts(grid) == [1, 1, 1, 1]
    assert "4/4" in console.readouterr().out
    assert not drive(grid)
    assert starts(grid) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("things", "jobs", "shares"),
    [
        ([0, 1, 2, 3, 4], 2, [[0, 2, 4], [1, 3]]),
        ([0, 1], 3, [[0], [1], [0]]),
        ([5], 1, [[5]]),
        ([], 2, [[], []]),
    ],
)
def test_jobs_share_cores_and_gpus(grid, things, jobs, shares):
    launcher = Launcher(grid, jobs)
    assert [launcher._share(things, slot) for slot in range(jobs)] == shares


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [(None, 2, ["0", "1"]), ("3,GPU-7a", 2, ["3", "GPU-7a"]), ("", 0, []), ("0,1", 0, [])],
)
def test_gpus_have_the_names_by_which_they_are_made_visible(monkeypatch, named, count, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected


def test_each_child_sees_gpus_of_its_own(grid, monkeypatch):
    monkeypatch.setattr(launcher_module, "visible_gpus", lambda: ["4", "6"])
    drive(grid, jobs=2)
    gpus = [(run.run_dir / "gpus").read_text().strip() for run in grid.distinct_runs()]
    assert set(gpus) == {"4", "6"}


def test_a_child_sees_its_share_alone(grid):
    before = os.sched_getaffinity(0)
    drive(grid, jobs=len(before))
    assert {(run.run_dir / "cores").read_text() for run in grid.distinct_runs()} == {"1\n"}
    assert os.sched_getaffinity(0) == before


def test_a_failure_stops_what_waits_for_it_and_nothing_else(tmp_path, console):
    grid = make_grid(tmp_path, tasks=[{"config": "finetune/sst2.yaml"}])
    failed = drive(grid, failing="static/seed0")
    broken = find(grid, "static").run_dir
    assert list(failed) == [broken]
    assert "static, seed 0" in failed[broken] and "log.txt" in failed[broken]
    assert len([run for run in grid.distinct_runs() if run.is_completed]) == 8 - 2
    assert not find(grid, "static", task="sst2").status
    assert console.readouterr().out.count("failed  ") == 1


def test_only_some_runs(grid):
    drive(grid, only={find(grid, "dynamic", 1).run_dir})
    assert starts(grid) == [0, 0, 0, 1]


def test_only_failed_leaves_out_what_was_never_started(grid, monkeypatch):
    with pytest.raises(InputError, match="--only failed: every run that was started is completed"):
        train_here(grid, jobs=1, only_failed=True)
    broken, done = find(grid, "static", 1), find(grid, "dynamic")
    for run in (broken, done):
        finish(run)
    (broken.run_dir / "status").write_text("failed\n")
    monkeypatch.setattr(Launcher, "train", lambda launcher: launcher.only)
    assert train_here(grid, jobs=1, only_failed=True) == {broken.run_dir}
    assert train_here(grid, jobs=1, only_failed=False) is None


def test_a_tuned_value_is_used_once_it_is_known(tmp_path):
    grid = make_grid(tmp_path, tune={"optimizer.learning_rate": [0.001, 0.002]})
    for run, loss in zip(grid.candidates("static"), (2.0, 1.0)):
        finish(run, loss)
    drive(grid)
    ran = [run.name for run in grid.distinct_runs() if (run.run_dir / "starts").is_file()]
    assert ran == [
        *("dynamic, 0.001, seed 0", "dynamic, 0.002, seed 0"),
        *("static, 0.002, seed 1", "dynamic, 0.001, seed 1"),
    ]


def test_a_child_holds_its_lock_after_its_launchers_death(grid, tmp_path):
    first = find(grid, "static").run_dir
    launcher = spawn(tmp_path, tenths=30)
    wait_for(lambda: (first / "starts").is_file())
    launcher.kill()
    launcher.wait()
    assert is_taken(first)
    with pytest.raises(Taken, match=f"process {launcher.pid} on "):
        take(first)
    assert not drive(grid)
    assert starts(grid) == [1, 1, 1, 1]


def test_a_run_by_hand_is_refused_while_a_launcher_has_it(grid, tmp_path):
    first = find(grid, "static").run_dir
    launcher = spawn(tmp_path, tenths=3000)
    wait_for(lambda: starts(grid)[0] == 1)  # the last that a child writes before it works
    before = {path: path.read_bytes() for path in first.iterdir()}
    words = ["--config", str(first / "job.yaml"), f"run_dir={first}"]
    command = [sys.executable, str(ROOT / "launch" / "pretrain.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and f"process {launcher.pid} on " in done.stderr, done.stderr
    assert {path: path.read_bytes() for path in first.iterdir()} == before
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=20)


def test_two_launchers_share_a_grid(grid, tmp_path):
    launchers = [spawn(tmp_path, tenths=5) for _ in range(2)]
    said = [launcher.communicate(timeout=60)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0]
    assert starts(grid) == [1, 1, 1, 1]
    assert sum(text.count(" min ") for text in said) == 4
    assert all(" min " in text for text in said)


def test_a_signal_lets_children_save_and_leave(grid, tmp_path):
    first = find(grid, "static").run_dir
    launcher = spawn(tmp_path, tenths=100)
    wait_for(lambda: (first / "starts").is_file())
    launcher.send_signal(signal.SIGTERM)
    said, _ = launcher.communicate(timeout=20)
    assert launcher.returncode != 0 and "waiting for 1 runs to save" in said
    assert (first / "status").read_text() == "preempted\n" and not is_taken(first)
    assert not drive(grid)
    assert starts(grid) == [2, 1, 1, 1]


def test_a_killed_child_is_a_failure_and_is_taken_up_by_the_next_launcher(grid, tmp_path):
    first = find(grid, "static").run_dir
    launcher = spawn(tmp_path, tenths=5)
    wait_for(lambda: (first / "starts").is_file())
    os.kill(int((first / "starts").read_text().split()[1]), signal.SIGKILL)
    said, _ = launcher.communicate(timeout=60)
    assert "failed  static, seed 0" in said
    assert not drive(grid)
    assert starts(grid) == [2, 1, 1, 1]
