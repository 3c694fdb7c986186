"""Medians, ratios and verdicts, from rounds that are written here."""

from __future__ import annotations

import pytest

from launch.benchmarks.benchmark_results import (
    contest_goals,
    data_goals,
    start_goal,
    summary,
    unmeasured_goals,
)
from launch.benchmarks.contenders import Round, Setting
from launch.benchmarks.contest import OURS, SHIPPED, UNPADDED, Contest, Outcome, highest
from launch.benchmarks.data_path import DataPath
from launch.benchmarks.startup import StartUp

SETTING = Setting("small", 128, "bf16", "cpu")


def outcome(name: str, *rates: float) -> Outcome:
    """Rounds of two seconds at so many tokens a second, a thousand useful FLOPs each."""
    rounds = [Round(int(2 * rate), 2000 * rate, 2.0, 0.02) for rate in rates]
    return Outcome(name, 3.0, 10**9, rounds)


@pytest.fixture
def contest() -> Contest:
    """The machine slows down by half in the second round, for both."""
    outcomes = [
        outcome(OURS, 1000, 500, 900),
        outcome(SHIPPED, 100, 50, 150),
        outcome(UNPADDED, 500, 250, 500),
    ]
    return Contest(SETTING, 1e6, outcomes)


def test_the_peak_is_the_highest_seen_and_no_contender_is_above_it(contest):
    assert highest([1e6, 3e6, 2e6], contest.outcomes) == 3e6
    assert highest([1e3, 2e3], contest.outcomes) == contest.outcomes[0].useful_flops == 900_000
    broken = Outcome(UNPADDED, failure="failed: its process died")
    assert highest([1e3], [contest.outcomes[1], broken]) == 100_000


def test_a_ratio_is_the_median_of_rounds_that_met_the_same_noise(contest):
    assert contest.ratio(contest.outcomes[1]) == 10
    assert contest.ratio(contest.outcomes[2]) == 2
    assert contest.outcomes[0].tokens_per_second == 900


def test_goals_are_met_or_missed_by_the_ratio(contest):
    found = {goal.what: (goal.found, goal.met) for goal in contest_goals(contest)}
    assert found == {
        f"against {SHIPPED}": ("10.00x", True),
        f"against {UNPADDED}": ("2.00x", False),
        "share of the peak": ("90%", True),
    }


def test_who_failed_decides_no_goal_and_says_why(contest):
    contest.outcomes[2].failure = "failed: CppCompileError: no compiler"
    assert [goal.what for goal in contest_goals(contest)] == [
        f"against {SHIPPED}",
        "share of the peak",
    ]
    assert "failed: CppCompileError" in contest.table()
    assert contest.as_json()["lanes"][2]["ratio"] is None


def test_the_table_has_a_line_for_each_contender(contest):
    title, head, *lines = contest.table().splitlines()
    assert title.startswith("4x256, 16 x 128 tokens, bf16, dropout 0.1; bf16 matmul peak")
    assert [line.split("  ")[0] for line in lines] == [OURS, SHIPPED, UNPADDED]
    assert "1.0%" in lines[0], "the share of time without a batch"
    assert len({len(line) for line in [head, *lines]}) == 1


def test_the_summary_tells_what_was_missed_and_what_not_measured():
    goals = [
        *data_goals(DataPath(2.5e7, 4.0, 5.0)),
        start_goal(StartUp(9.0, 4.0)),
        *unmeasured_goals("cpu"),
    ]
    marks = [line.split()[-1] for line in summary(goals).splitlines()[1:]]
    assert marks[:3] == ["met", "missed", "missed"]
    assert "not measured" in summary(goals) and not unmeasured_goals("cuda")


def test_every_size_is_a_configuration(tmp_path):
    for size, length in (("small", 128), ("base", 512), ("large", 512)):
        config = Setting(size, length, "fp32", "cpu", next_sentence=True).config(tmp_path)
        assert config.max_length == length and config.next_sentence_prediction
        assert config.batch.sequences * length == {"small": 2048, "base": 1024, "large": 512}[size]
    assert Setting("base", 512, "bf16", "cuda").sequences == 128
