"""What several ranks are judged by."""

from __future__ import annotations

import pytest

from launch.selfchecks.ranks import STAGES, compare, scaling


def rank(loss: float = 5.0, norm: float = 10.0, weights: str = "a") -> dict[str, object]:
    stage = {"losses": [7.0, loss], "norm": norm, "weights": weights}
    return {str(number): stage for number in STAGES}


@pytest.mark.parametrize(
    ("several", "state"),
    [
        ([rank(), rank()], "ok"),
        ([rank(5.0001), rank(5.0001)], "ok"),
        ([rank(5.01), rank(5.01)], "FAILED"),
        ([rank(norm=10.1), rank(norm=10.1)], "FAILED"),
        ([rank(), rank(weights="b")], "FAILED"),
        ("exit codes [1, 0]: see output.txt", "FAILED"),
    ],
)
def test_ranks_that_differ_fail(several, state):
    assert compare("", rank(), several).state == state


def test_scaling_is_told_as_a_share_of_what_ranks_could_do_together():
    found = scaling(4, alone=100.0, together=300.0)
    assert found.values["share"] == 0.75 and "75% of 4 times the 100 of one" in found.text
