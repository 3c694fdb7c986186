"""Ranks that meet, and those that do not come."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from pretrain.ranks.local import free_port
from tests.conftest import OF_A_RANK, ROOT, deepspeed

pytestmark = pytest.mark.distributed
JOIN = """
from configs.system import waiting
waiting.FIRST_SECONDS = 0.5
from launch.command import show_logs
show_logs()
from pretrain.ranks import world
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


@pytest.mark.parametrize("ranks, code", [(1, 0), (2, 2)])
def test_a_port_in_use_is_nothing_to_one_rank_and_one_line_to_several(ranks, code, tmp_path):
    """Two runs that DeepSpeed's launcher starts on one machine have one port."""
    script = tmp_path / "join.py"
    script.write_text(
        "import sys\n"
        f"sys.path[0] = {str(ROOT)!r}\n"
        "from launch.command import run\n"
        "def main():\n"
        "    from pretrain.ranks import world\n"
        "    assert world.start().sum_on_host(1) == [1]\n"
        "run(main)\n"
    )
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*deepspeed(ranks), "--master_port", port, str(script)],
            env={k: v for k, v in os.environ.items() if k not in OF_A_RANK},
            capture_output=True,
            text=True,
            timeout=300,
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode == 0) == (code == 0), done.stderr
    assert "Traceback" not in done.stderr and len(errors) == (code != 0)
    assert all(f"port {port} of this machine is in use" in line for line in errors)
