"""Hostile values in every field that reaches a job script: some on a real Slurm, a few without."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import missing_requirement
from tests.slurm.scripts_cases import FIELDS


def fuzz(*words: str) -> None:
    command = [sys.executable, str(ROOT / "tests/slurm/fuzz_scripts.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 evaluated, 0 faults" in done.stdout


def test_a_value_for_each_field_with_stand_ins():
    fuzz("--fake", "--count", str(len(FIELDS)), "--seed", "7")


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.skipif(missing_requirement() is not None, reason=str(missing_requirement()))
def test_values_on_a_real_slurm():
    fuzz("--count", "40")
