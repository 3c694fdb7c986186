"""A file of launch commands, one a line: what a grid's array runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from configs.checks import require
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from configs.system.run_names import JOB_CONFIG
from launch.slurm.command_words import read_words

RunConfig: TypeAlias = PretrainConfig | FinetuneConfig
"""what a job trains by"""
SCHEMAS: dict[str, type[RunConfig]] = {"pretrain": PretrainConfig, "finetune": FinetuneConfig}


@dataclass(frozen=True)
class Command:
    """One run of a grid."""

    kind: str
    """pretrain or finetune"""
    config: RunConfig

    @property
    def run_dir(self) -> Path:
        """The run's folder."""
        return Path(self.config.run_dir)

    @property
    def words(self) -> list[str]:
        """Its run folder, and what its array element runs: the configuration that stands there."""
        config = str(self.run_dir / JOB_CONFIG)
        return [str(self.run_dir), f"launch/{self.kind}.py", "--config", config]


def read_commands(path: Path) -> list[Command]:
    """Every command of the file, checked.

    Raises:
        InputError: no such file, no command, a bad one, or two with the same run folder.
    """
    commands: list[Command] = []
    for place, (script, _, name, *fields) in read_words(path):
        kind = Path(script).stem
        try:
            command = Command(kind, load_config(SCHEMAS[kind], name, fields))
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        if command.run_dir in [c.run_dir for c in commands]:
            raise InputError(
                f"{place}: run_dir={command.run_dir} belongs to a command above: give each its own"
            )
        commands.append(command)
    return commands


def words_of(commands: Iterable[Command]) -> str:
    """A command a line, each word ended by a NUL: bash reads them back without parsing anything.

    No word holds a line break: the configurations' checks see to that.
    """
    return "".join("".join(f"{word}\0" for word in c.words) + "\n" for c in commands)


def choose(commands: list[Command], only: str | None) -> dict[int, Path]:
    """Numbers, from 1, of the commands to submit, and their run folders.

    Raises:
        InputError: nothing is left.
    """
    chosen = {
        number: command.run_dir
        for number, command in enumerate(commands, start=1)
        if only != "failed" or RunFolder(command.run_dir).read_status() != "completed"
    }
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
