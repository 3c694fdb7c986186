"""How far a result may be from the exact one."""

from __future__ import annotations

import pytest
import torch

from launch.selfchecks.errors import Errors, within


@pytest.mark.parametrize(
    ("ours", "plain", "good"),
    [(1.7e-7, 0.0, True), (5e-7, 0.0, False), (1e-6, 4e-7, True), (2e-6, 4e-7, False)],
)
def test_ours_may_round_a_little_more_often_than_the_plain_computation(ours, plain, good):
    assert within(Errors(ours, plain), torch.float32) == good
