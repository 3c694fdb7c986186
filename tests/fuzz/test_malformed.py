"""A handful of malformed inputs, one of each kind and some more, as the command makes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.data.corpus import prepare_store
from tests.conftest import ROOT
from tests.fuzz.case import Case, Outcome
from tests.fuzz.kinds import KINDS
from tests.fuzz.malformed import kinds
from tests.fuzz.materials import Materials, write_paths


@pytest.fixture
def materials(tiny, prose, tiny_run, tiny_task, tiny_finetuned, tmp_path) -> Path:
    """The folder of what is damaged: what other tests made, the run with a single checkpoint."""
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    for old in sorted((run / "checkpoints").iterdir())[:-1]:
        shutil.rmtree(old)
    store = prepare_store(load_config(PretrainConfig, str(tiny)))
    write_paths(tmp_path, Materials(tiny, prose, store, run, tiny_task, tiny_finetuned))
    return tmp_path


@pytest.mark.slow
def test_each_kind_ends_in_one_line(materials):
    count = len(KINDS) + 4
    command = [sys.executable, str(ROOT / "tests/fuzz/malformed.py"), "--count", str(count)]
    done = subprocess.run(
        [*command, "--materials", str(materials)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} cases, 0 faults" in done.stdout
    assert all(kind in done.stdout for kind in KINDS)


def test_kinds_are_all_there_and_repeat_with_the_seed():
    row = list(kinds(200, 0, None))
    assert len(row) == 200 and set(row[: len(KINDS)]) == set(KINDS)
    assert row == list(kinds(200, 0, None)) != list(kinds(200, 1, None))


GOOD = "error: seed=-1 must lie between 0 and 2^32 - 1\n"


@pytest.mark.parametrize(
    ("code", "errors", "left", "fault"),
    [
        (2, GOOD, [], None),
        (2, "a note\n" + GOOD, [], None),
        (0, GOOD, [], "exit code 0"),
        (1, GOOD, [], "exit code 1"),
        (-9, "", [], "exit code -9"),
        (2, "Traceback (most recent call last):\n" + GOOD, [], "exit code 2 and a traceback"),
        (2, GOOD * 2, [], "2 lines of error"),
        (2, GOOD + "and more\n", [], "1 lines of error"),
        (2, "", [], "0 lines of error"),
        (2, "error: no\n", [], "a line of 9"),
        (2, GOOD, ["run/status"], "left behind: run/status"),
    ],
)
def test_what_counts_as_a_fault(code, errors, left, fault):
    found = Case("", []).fault(Outcome(code, "", errors, 0.1, left))
    assert (found is None) if fault is None else found.startswith(fault)


@pytest.mark.parametrize(
    ("code", "printed", "errors", "refusable", "fault"),
    [
        (0, "7", "", True, None),
        (0, "8", "", True, "8, not 7"),
        (2, "", GOOD, True, None),
        (2, "", GOOD, False, "exit code 2 where the input is legal"),
        (1, "7", "", True, "exit code 1"),
        (0, "7", "Traceback (most recent call last):\n", True, "exit code 0 and a traceback"),
    ],
)
def test_odd_input_ends_in_the_right_value_or_a_refusal(code, printed, errors, refusable, fault):
    def right(outcome: Outcome) -> str | None:
        return None if outcome.printed == "7" else f"{outcome.printed}, not 7"

    case = Case("", [], right, refusable)
    assert case.fault(Outcome(code, printed, errors, 0.1, [])) == fault
