"""Ranks on this machine, for commands that no launcher has started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time


def is_rank() -> bool:
    """Whether a launcher has told this process which rank it is."""
    return "RANK" in os.environ


def run_as_ranks(number: int) -> int:
    """The present command once more, as `number` ranks of this machine; returns its exit code.

    The first rank that fails ends the others.
    """
    port = str(free_port())
    ranks = [
        subprocess.Popen([sys.executable, *sys.argv], env=_environment(rank, number, port))
        for rank in range(number)
    ]
    code = 0
    try:
        codes: list[int | None] = [None]
        while not code and None in codes:
            time.sleep(0.1)
            codes = [rank.poll() for rank in ranks]
            code = next(filter(None, codes), 0)
    finally:
        for rank in ranks:
            rank.kill()
    return code if code >= 0 else 128 - code  # as a shell says of a signal


def _environment(rank: int, number: int, port: str) -> dict[str, str]:
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(number),
        "LOCAL_WORLD_SIZE": str(number),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
