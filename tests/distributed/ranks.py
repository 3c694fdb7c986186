"""Run a function on several gloo ranks and collect what each returns."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.forked import run_ranks


def on_ranks(function: Callable[..., Any], world_size: int, *arguments: Any) -> list[Any]:
    """`function(*arguments)` in `world_size` fresh processes; their results in the order of ranks.

    `function` must be importable, and calls `pretrain.ranks.world.start` itself.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        run_ranks(_rank, world_size, world_size, port, folder, function, arguments)
        return [pickle.loads(_result(folder, rank).read_bytes()) for rank in range(world_size)]


def _rank(rank: int, world_size: int, port: int, folder: str, function, arguments) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    _result(folder, rank).write_bytes(pickle.dumps(function(*arguments)))
    # As the launch scripts do: threads of the process group may abort an interpreter that ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _result(folder: str, rank: int) -> Path:
    return Path(folder) / f"{rank}.pickle"
