"""A file of launch commands, one a line: what a grid's array runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.checks import require
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config
from configs.run_status import read_status
from configs.schema import PretrainConfig

SCHEMAS = {"pretrain": PretrainConfig, "finetune": FinetuneConfig}


@dataclass(frozen=True)
class Command:
    """One run of a grid."""

    kind: str
    """pretrain or finetune"""
    config: Any

    @property
    def run_dir(self) -> Path:
        return Path(self.config.run_dir)

    @property
    def line(self) -> str:
        """What its array element runs: the configuration that stands in the run folder."""
        words = [f"launch/{self.kind}.py", "--config", str(self.run_dir / "job.yaml")]
        return shlex.join([*words, f"run_dir={self.run_dir}"])


def read_commands(path: Path) -> list[Command]:
    """Every command of the file, checked; lines that are empty or begin with # are left out.

    Raises:
        InputError: no such file, no command, a bad one, or two with the same run folder.
    """
    if not path.is_file():
        raise InputError(f"--config {path}: no such file of commands")
    commands: list[Command] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.strip().startswith("#"):
            command = _parse(line, f"{path}, line {number}")
            if command.run_dir in [c.run_dir for c in commands]:
                raise InputError(
                    f"{path}, line {number}: run_dir={command.run_dir} belongs to a command above: "
                    "give each its own"
                )
            commands.append(command)
    if not commands:
        raise InputError(f"{path} holds no command: write e.g. launch/pretrain.py --config NAME")
    return commands


def _parse(line: str, place: str) -> Command:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
    words = words[1:] if words[0] in ("python", "deepspeed") else words
    script, option, name = [*words[:3], "", "", ""][:3]
    kind = Path(script).stem
    if kind not in SCHEMAS or not script.endswith(".py") or option != "--config" or not name:
        raise InputError(
            f"{place}: '{line.strip()}' is no command of a grid: write "
            "launch/pretrain.py --config NAME [key=value ...], or the same with finetune.py"
        )
    try:
        return Command(kind, load_config(SCHEMAS[kind], name, words[3:]))
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def choose(commands: list[Command], only: str | None) -> dict[int, Path]:
    """Numbers, from 1, of the commands to submit, and their run folders.

    Raises:
        InputError: nothing is left.
    """
    chosen = {number: command.run_dir for number, command in enumerate(commands, start=1)}
    if only == "failed":
        chosen = {n: folder for n, folder in chosen.items() if read_status(folder) != "completed"}
    require(bool(chosen), "--only failed: every run is completed")
    return chosen


def ranges(numbers: Iterable[int]) -> str:
    """1, 2, 3, 7 as sbatch writes it: 1-3,7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
