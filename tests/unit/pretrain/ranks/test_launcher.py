"""A rank without its launcher is asked to leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretrain.ranks.preemption import SECOND, is_launcher
from tests.conftest import ROOT

FRONT = """
import subprocess, sys
front = subprocess.Popen([sys.executable, *sys.argv[1:]])
front.wait()
"""
RANK = """
import os, sys, time
from pathlib import Path
from pretrain.ranks.preemption import PreemptionNotice
said = Path(sys.argv[1])
notice = PreemptionNotice()
said.write_text(f"{os.getpid()} {os.getppid()}")
end = time.monotonic() + 30
while not notice.is_given() and time.monotonic() < end:
    time.sleep(0.01)
said.write_text(str(notice.reason))
"""


@pytest.mark.parametrize("number", [0, 1])
def test_whoever_dies_of_two_launchers_the_rank_notices(number, tmp_path):
    names = ("deepspeed", "torchrun", "rank.py")
    scripts = [tmp_path / name for name in names]
    for path, text in zip(scripts, (FRONT, FRONT, RANK)):
        path.write_text(text)
    said = tmp_path / "said"
    words = [sys.executable, *map(str, scripts), str(said)]
    front = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)})
    waited(lambda: said.exists() and " " in said.read_text())
    second = int(said.read_text().split()[1])
    os.kill((front.pid, second)[number], signal.SIGKILL)
    waited(lambda: " " in said.read_text() and "gone" in said.read_text())
    assert said.read_text() == "the launcher is gone"
    front.wait()


def test_a_launcher_that_died_before_its_ranks_began_is_noticed(tmp_path):
    """DeepSpeed's command dies while the second launcher, which it has started, still imports."""
    second, rank, said = (tmp_path / name for name in (SECOND, "rank.py", "said"))
    wait = "import os, time\nwhile str(os.getppid()) == os.environ['FIRST']: time.sleep(0.01)\n"
    second.write_text(wait + FRONT)
    rank.write_text(RANK)
    words = [sys.executable, *map(str, (second, rank, said))]
    first = "import os, subprocess\nos.environ['FIRST'] = str(os.getpid())\n"
    command = [sys.executable, "-c", f"{first}subprocess.Popen({words!r})"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    waited(lambda: said.exists() and "gone" in said.read_text())
    assert said.read_text() == "the launcher is gone"


def waited(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_a_launcher_is():
    assert is_launcher(["/usr/bin/python3.11", "-u", "-m", "deepspeed.launcher.launch", "--x"])
    assert is_launcher(["python", "/venv/bin/torchrun", "--nproc-per-node", "2"])
    for words in (
        ["bash", "-c", "deepspeed launch/pretrain.py"],
        ["timeout", "9", "deepspeed"],
        [],
    ):
        assert not is_launcher(words)
    assert not is_launcher(["python", str(Path("launch") / "pretrain.py"), "run_dir=deepspeed"])
