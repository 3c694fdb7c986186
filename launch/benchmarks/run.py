"""Races and measurements one after the other, and all that came of them."""

from __future__ import annotations

import argparse
import logging
import platform
from dataclasses import asdict, dataclass, field

import torch

from configs.errors import InputError
from configs.system.version import code_version, package_version
from launch.benchmarks import data_path, neighbour, report, startup
from launch.benchmarks.contest import CONTENDERS, OURS, Race, race
from launch.benchmarks.setting import Setting
from pretrain.engine.precision import choose_precision
from pretrain.ranks.world import World, cores

logger = logging.getLogger(__name__)

SECONDS, MEGABYTES = 6.0, 4.0
"""of batches; of text to tokenise, three times and for both sides"""


@dataclass
class Results:
    """What was measured so far."""

    races: list[Race] = field(default_factory=list)
    data: data_path.DataPath | None = None
    start: startup.StartUp | None = None
    neighbour: neighbour.Neighbour | None = None

    def __post_init__(self) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_num_threads(cores())

    def add_step(self, arguments: argparse.Namespace) -> None:
        """A race for every size and length."""
        names = choose(arguments.only)
        world = World(0, 1, torch.device(self.device))
        precision = arguments.precision or choose_precision("auto", world).name
        sizes = ["base", "large"] if self.device == "cuda" else ["small", "base"]
        for size in arguments.size or sizes:
            for length in arguments.length:
                setting = Setting(
                    size,
                    length,
                    precision,
                    self.device,
                    arguments.dropout,
                    arguments.nsp,
                    tuple(arguments.overrides),
                )
                turns = (arguments.rounds, arguments.seconds, arguments.traces)
                self.races.append(race(setting, names, *turns))
                logger.info(f"{report.race_table(self.races[-1])}\n")

    def add_data(self, arguments: argparse.Namespace) -> None:
        """The data path."""
        self.data = data_path.measure(SECONDS, MEGABYTES, tuple(arguments.overrides))

    def add_startup(self, arguments: argparse.Namespace) -> None:
        """The start."""
        self.start = startup.measure(tuple(arguments.overrides))

    def add_neighbour(self, arguments: argparse.Namespace) -> None:
        """Steps beside a busy process; `all` leaves them out where a GPU takes the steps."""
        if self.device == "cpu":
            self.neighbour = neighbour.measure(tuple(arguments.overrides))
            logger.info(f"{self.neighbour.table()}\n")
        elif arguments.parts == ["neighbour"]:
            raise InputError("neighbour: this machine has a GPU, and steps on CPUs are measured")

    def goals(self) -> list[report.Goal]:
        """The lines of the summary."""
        goals = [goal for race in self.races for goal in report.race_goals(race)]
        goals += report.data_goals(self.data) if self.data else []
        goals += report.start_goals(self.start) if self.start else []
        goals += report.neighbour_goals(self.neighbour) if self.neighbour else []
        return goals + (report.unmeasured_goals(self.device) if self.races else [])

    def summary(self) -> str:
        """What was aimed at and what was found."""
        return report.summary(self.goals())

    def as_json(self) -> dict:
        """For programs."""
        return {
            "code": code_version(),
            "machine": f"{platform.processor() or platform.machine()}, {cores()} cores",
            "torch": torch.__version__,
            "transformers": package_version("transformers"),
            "races": [race.as_json() for race in self.races],
            "data": asdict(self.data) if self.data else None,
            "startup": asdict(self.start) if self.start else None,
            "neighbour": asdict(self.neighbour) if self.neighbour else None,
            "goals": [asdict(goal) for goal in self.goals()],
        }


def choose(only: list[str] | None) -> list[str]:
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
