"""Contests and measurements one after the other, and all that came of them."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from configs.errors import InputError
from configs.schema import PrecisionName
from configs.system.version import code_version, package_version
from launch.benchmarks import data_path, goals, neighbour, startup
from launch.benchmarks.contest import CONTENDERS, OURS, Contest, hold_contest
from launch.benchmarks.setting import Setting
from pretrain.engine.precision import choose_precision
from pretrain.ranks.world import World, cores

logger = logging.getLogger(__name__)

SECONDS, MEGABYTES = 6.0, 4.0
"""of batches; of text to tokenise, three times and for both sides"""


@dataclass(frozen=True)
class ContestOptions:
    """What is trained in the contests of training steps, by whom, and for how long."""

    sizes: Sequence[str]
    """of `setting.SHAPES`; empty: two that this machine's device can train"""
    lengths: Sequence[int]
    precision: PrecisionName | None
    """None: what this machine multiplies faster in"""
    dropout: float
    next_sentence: bool
    rounds: int
    seconds: float
    """of a turn"""
    traces: Path | None
    """folder for profiles"""
    only: Sequence[str]
    """words in the names of rivals; empty: all of them"""


@dataclass
class BenchmarkResults:
    """What was measured so far; each method adds its part, and logs the table of it."""

    overrides: tuple[str, ...] = ()
    """fields of the configuration that is trained"""
    contests: list[Contest] = field(default_factory=list)
    data: data_path.DataPath | None = None
    start: startup.StartUp | None = None
    neighbour: neighbour.Neighbour | None = None

    def __post_init__(self) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(cores())

    def hold_contests(self, options: ContestOptions) -> None:
        """A contest for every size and length."""
        names = choose(options.only)
        world = World(0, 1, torch.device(self.device))
        precision = options.precision or choose_precision("auto", world).name
        sizes = ["base", "large"] if self.device == "cuda" else ["small", "base"]
        for size in options.sizes or sizes:
            for length in options.lengths:
                setting = Setting(
                    size,
                    length,
                    precision,
                    self.device,
                    options.dropout,
                    options.next_sentence,
                    self.overrides,
                )
                contest = hold_contest(
                    setting, names, options.rounds, options.seconds, options.traces
                )
                self.contests.append(contest)
                logger.info(f"{goals.contest_table(contest)}\n")

    def measure_data(self) -> None:
        """The data path."""
        self.data = data_path.measure(SECONDS, MEGABYTES, self.overrides)

    def measure_startup(self) -> None:
        """The start."""
        self.start = startup.measure(self.overrides)

    def measure_neighbour(self) -> None:
        """Steps beside a busy process; `InputError` where a GPU takes the steps."""
        if self.device != "cpu":
            raise InputError("neighbour: this machine has a GPU, and steps on CPUs are measured")
        self.neighbour = neighbour.measure(self.overrides)
        logger.info(f"{self.neighbour.table()}\n")

    def goals(self) -> list[goals.Goal]:
        """The lines of the summary."""
        lines = [goal for contest in self.contests for goal in goals.contest_goals(contest)]
        lines += goals.data_goals(self.data) if self.data else []
        lines += goals.start_goals(self.start) if self.start else []
        lines += goals.neighbour_goals(self.neighbour) if self.neighbour else []
        return lines + (goals.unmeasured_goals(self.device) if self.contests else [])

    def summary(self) -> str:
        """What was aimed at and what was found."""
        return goals.summary(self.goals())

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "code": code_version(),
            "machine": f"{platform.processor() or platform.machine()}, {cores()} cores",
            "torch": torch.__version__,
            "transformers": package_version("transformers"),
            "races": [contest.as_json() for contest in self.contests],
            "data": asdict(self.data) if self.data else None,
            "startup": asdict(self.start) if self.start else None,
            "neighbour": asdict(self.neighbour) if self.neighbour else None,
            "goals": [asdict(goal) for goal in self.goals()],
        }


def choose(only: Sequence[str]) -> list[str]:
    """Ours, and the rivals whose names hold one of the words.

    Raises:
        InputError: no rival does, or they are not installed.
    """
    rivals = [name for name in CONTENDERS if name != OURS]
    chosen = [n for n in rivals if not only or any(w.lower() in n.lower() for w in only)]
    if not chosen:
        raise InputError(f"--only {' '.join(only)}: no rival is called so: {', '.join(rivals)}")
    missing = [x for x in ("transformers", "accelerate") if package_version(x) == "not installed"]
    if missing:
        raise InputError(f"the rivals need {' and '.join(missing)}: pip install -e .[dev]")
    return [OURS, *chosen]
