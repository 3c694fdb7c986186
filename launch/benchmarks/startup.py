"""From the command to the first step, beyond what importing torch and deepspeed takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from configs.errors import RunError
from configs.loader import load_config
from configs.schema import PretrainConfig
from configs.system.version import ROOT
from pretrain.ranks.local import free_port

CONFIG = "roberta_small.yaml"
ROUNDS = 3
EMPTY = "import torch, deepspeed\nprint('step      1', flush=True)\n"
"""what no training can do without"""


@dataclass(frozen=True)
class StartUp:
    """Seconds, medians over rounds; text is in its cache."""

    first_step: float
    """of `deepspeed launch/pretrain.py`, until it logs step 1"""
    imports: float
    """of the same launcher with a script that imports torch and deepspeed"""

    @property
    def own(self) -> float:
        """What is ours beyond the imports."""
        return self.first_step - self.imports


def measure(overrides: tuple[str, ...]) -> StartUp:
    """Start both in turns; the first start of ours, which fills the caches, does not count."""
    load_config(PretrainConfig, CONFIG, overrides)  # a wrong field is told here
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.py").write_text(EMPTY, encoding="utf-8")

        def ours(run: str) -> float:
            fields = (f"run_dir={folder / run}", "schedule.max_steps=1", "log_every_steps=1")
            script = str(ROOT / "launch" / "pretrain.py")
            return until_first_step([script, "--config", CONFIG, *fields, *overrides], folder)

        ours("warm")
        turns = [
            (ours(str(turn)), until_first_step([str(folder / "empty.py")], folder))
            for turn in range(ROUNDS)
        ]
    return StartUp(*(median(column) for column in zip(*turns)))


def until_first_step(script: list[str], folder: Path) -> float:
    """Seconds until the script, started by DeepSpeed on one rank, says that step 1 is done."""
    launcher = [str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", "1"]
    launcher += ["--master_port", str(free_port())]
    started = perf_counter()
    process = subprocess.Popen(
        [sys.executable, *launcher, *script],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    for line in process.stdout or ():
        lines.append(line)
        if line.startswith("step      1"):
            seconds = perf_counter() - started
            process.communicate()
            return seconds
    raise RunError(f"no first step: {''.join(lines[-3:]).strip()}")
