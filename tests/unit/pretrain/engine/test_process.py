"""What a process asks of the libraries below."""

import os
import subprocess
import sys

import pytest

from pretrain.engine.process import SPINS
from tests.conftest import ROOT


def spins(**environment: str) -> str:
    """What GNU's OpenMP library says, once a launch script has loaded it, of its waiting."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, ROOT / "launch" / "benchmark.py", "step", "--rounds", "1", "--only", "?"],
        env={**kept, **environment, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not said:
        pytest.skip("this build of PyTorch runs on another OpenMP library")
    return said[0].split("'")[1]


def test_threads_that_wait_for_each_other_fall_asleep_soon():
    assert spins() == SPINS


@pytest.mark.parametrize(
    "asked, heard",
    [({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_what_the_user_says_of_waiting_stays(asked: dict[str, str], heard: str):
    assert spins(**asked) == heard
