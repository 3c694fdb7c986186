"""Ranks that meet, and those that do not come."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading

import pytest

from pretrain.engine.ranks import free_port
from tests.conftest import OF_A_RANK, ROOT

pytestmark = pytest.mark.distributed
JOIN = """
from configs import waiting
waiting.FIRST_SECONDS = 0.5
from pretrain.engine import world
world.start()
"""


@pytest.mark.parametrize(
    ("rank", "told"),
    [
        (0, r"waiting for all 3 ranks to join at 127.0.0.1:{}: \d+ s so far \(missing: 1, 2\)"),
        (1, r"waiting for rank 0 of 3 at 127.0.0.1:{}: \d+ s so far"),
    ],
)
def test_a_rank_that_waits_for_others_says_which(rank, told):
    port = str(free_port())
    ours = dict(zip(OF_A_RANK, (str(rank), "0", "3", "127.0.0.1", port)))
    process = subprocess.Popen(
        [sys.executable, "-c", JOIN],
        env={**os.environ, **ours, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    late = threading.Timer(120, process.kill)
    late.start()
    try:
        assert any(re.search(told.format(port), line) for line in process.stderr)
    finally:
        late.cancel()
        process.kill()
        process.communicate()
