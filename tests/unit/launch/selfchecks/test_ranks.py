"""What several ranks are judged by."""

from __future__ import annotations

import pytest

from launch.selfchecks.ranks import STAGES, compare


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
