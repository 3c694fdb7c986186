"""A few kills over all stages, and what the comparison of ends sees."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.faults.ends import difference, end_of
from tests.faults.kills import plan, share
from tests.faults.stages import STAGES


def test_a_plan_has_every_stage_and_is_the_same_for_the_same_seed():
    kills = plan(STAGES, 70, random.Random(3))
    assert kills == plan(STAGES, 70, random.Random(3))
    assert set(kills) == set(STAGES) and len(kills) == 70
    assert sum(not stage.is_training for stage in kills) >= 35
    for life, hand in share(kills, random.Random(3)):
        once = [stage for stage in hand if not stage.again]
        assert len(set(once)) == len(once)
        assert all(stage.life == life.name for stage in hand)
        assert [s.order for s in hand] == sorted(s.order for s in hand)


def test_the_comparison_sees_what_differs_and_no_times(tmp_path):
    for name, seconds in (("calm", 1), ("killed", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(f'{{"seconds": {seconds}, "dev": 3}}')
        (tmp_path / name / "report.md").write_text(f"| a | minutes |\n|---|---|\n| b | {seconds} |")
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert not difference(end_of(calm), end_of(killed))
    (killed / ".report.md.0123abcd").touch()
    (killed / "result.json").write_text('{"seconds": 1, "dev": 4}')
    (calm / "lost").write_text("text")
    assert difference(end_of(calm), end_of(killed)) == [
        ".report.md.0123abcd is left over",
        "lost is missing",
        "result.json differs",
    ]


@pytest.mark.slow
@pytest.mark.distributed
def test_twelve_kills_end_with_the_same_bits():
    words = [sys.executable, str(ROOT / "tests/faults/kills.py"), "--kills", "12", "--seed", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
