"""Scripts and ranks, forked from a server that has imported what they need.

A fresh interpreter spends three to four seconds on importing torch, its compiler and DeepSpeed, and
a suite starts hundreds. The server has no thread, so that its children are as good as new. What a
test says of an environment, a launcher or a kill asks for a process from nothing: `Command`.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess

import torch.multiprocessing as multiprocessing

IMPORTED = [
    "torch._dynamo",  # which every optimizer of torch imports at its first step
    "deepspeed",
    "transformers",
    "pytest",
    "matplotlib.figure",
    "torch.utils.tensorboard",
    "finetune.baselines.rivals",
    "finetune.training.run_trials",
    "pretrain.engine.train",
]
LAUNCH = Path(__file__).resolve().parents[1] / "launch"
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(IMPORTED)


def run_script(
    script: str, *arguments: object, cwd: Path, timeout: float = 300
) -> CompletedProcess[str]:
    """Run a launch script in `cwd` to its end, in a process group of its own."""
    words = [str(LAUNCH / script), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = SERVER.Process(target=_script, args=(words, dict(os.environ), cwd, out, err))
        process.start()
        try:
            process.join(timeout)
            assert process.exitcode is not None, f"{words} runs after {timeout} seconds"
        finally:
            end_group(process.pid)
        return CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


def end_group(leader: int) -> None:
    """SIGKILL a process group, where there still is one."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def run_ranks(function, world_size: int, *arguments: object) -> None:
    """`function(rank, *arguments)` in `world_size` processes; raises what one of them raises."""
    task = (dict(os.environ), function, arguments)
    multiprocessing.start_processes(_rank, task, world_size, start_method="forkserver")


def _script(words: list[str], environment: dict[str, str], cwd: Path, out: Path, err: Path) -> None:
    os.setsid()
    _become(environment)
    os.chdir(cwd)
    for number, path in enumerate((os.devnull, out, err)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags), number)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


def _rank(rank: int, environment: dict[str, str], function, arguments: tuple) -> None:
    _become(environment)
    function(rank, *arguments)


def _become(environment: dict[str, str]) -> None:
    """The server's environment is that of the test which happened to start it."""
    os.environ.clear()
    os.environ.update(environment)
