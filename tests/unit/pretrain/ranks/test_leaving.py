"""Signals to a command that is no run: they end it in one line."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from pretrain.ranks.leaving import ENDED, INTERRUPTED
from tests.conftest import ROOT

SCRIPT = """
import os, time
from pretrain.ranks import leaving
leaving.GRACE_SECONDS = 0.2
leaving.LEAVING.listen(hurries={hurries})
from launch.command import run
def main():
    try:
        os.kill(os.getpid(), {number})
        time.sleep(30)
    finally:
        time.sleep({clearing})
        print("cleared up", flush=True)
run(main)
"""


def end(number: int, hurries: bool, clearing: float) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a process that gets a signal."""
    script = SCRIPT.format(number=int(number), hurries=hurries, clearing=clearing)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number, words", [(signal.SIGTERM, ENDED), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_is_told_in_one_line_and_by_the_exit_code(number, words):
    assert end(number, True, 0) == (128 + number, "cleared up\n", f"{words}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_only_what_has_to_wait_is_waited_for(number):
    """An ablation's runs save for longer than the grace that other commands have."""
    assert end(number, True, 20)[:2] == (128 + number, "")
    assert end(number, False, 0.8)[:2] == (128 + number, "cleared up\n")
