"""Contests and measurements one after the other, what all came to, and what was aimed at."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from configs.errors import InputError
from configs.schema import PrecisionName
from configs.system.version import code_version, package_version
from launch.benchmarks import data_path, neighbour, startup
from launch.benchmarks.contenders import Setting
from launch.benchmarks.contest import CONTENDERS, OURS, SHIPPED, UNPADDED, Contest, hold_contest
from pretrain.engine.precision import choose_precision
from pretrain.ranks.world import World, cores

logger = logging.getLogger(__name__)

SECONDS, MEGABYTES = 6.0, 4.0
"""of batches; of text to tokenise, three times and for both sides"""
RATIOS = {
    ("cpu", "small"): {UNPADDED: 4.0, SHIPPED: 6.0},
    ("cpu", "base"): {UNPADDED: 1.8, SHIPPED: 2.0},
    ("cuda", "base"): {UNPADDED: 2.0},
    ("cuda", "large"): {UNPADDED: 2.0},
}
SHARES = {
    ("cpu", "small"): 0.65,
    ("cpu", "base"): 0.78,
    ("cuda", "base"): 0.6,
    ("cuda", "large"): 0.68,
}
NOT_MEASURED = "not measured"
BATCHES, TOKENISING, START = 20e6, 0.9, 3.0
"""tokens a second and core; against the bare library; seconds"""
SLOWDOWN, LONE = 2.5, 0.95
"""of a run beside one busy process; of a lone run's speed against threads that spin"""


@dataclass(frozen=True)
class ContestOptions:
    """What is trained in the contests of training steps, by whom, and for how long."""

    sizes: Sequence[str]
    """of `SHAPES`; empty: two that this machine's device can train"""
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


@dataclass(frozen=True)
class Goal:
    """One line of the summary."""

    where: str
    what: str
    found: str
    aim: str
    met: bool


class BenchmarkResults:
    """What was measured so far; each method adds its part, and logs the table of it."""

    def __init__(self, overrides: Sequence[str]) -> None:
        """`overrides` are fields of the configuration that is trained."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.overrides = tuple(overrides)
        self.contests: list[Contest] = []
        self.goals: list[Goal] = []
        self.figures: dict[str, object] = dict.fromkeys(("data", "startup", "neighbour"))
        torch.set_num_threads(cores())

    def hold_contests(self, options: ContestOptions) -> None:
        """A contest for every size and length."""
        names = choose(options.only)
        world = World(0, 1, torch.device(self.device))
        precision = options.precision or choose_precision("auto", world).name
        common = (precision, self.device, options.dropout, options.next_sentence, self.overrides)
        sizes = ["base", "large"] if self.device == "cuda" else ["small", "base"]
        for size in options.sizes or sizes:
            for length in options.lengths:
                setting = Setting(size, length, *common)
                contest = hold_contest(
                    setting, names, options.rounds, options.seconds, options.traces
                )
                self.contests.append(contest)
                self.goals += contest_goals(contest)
                logger.info(f"{contest.table()}\n")

    def measure(self, part: str) -> None:
        """`data`, `startup` or `neighbour`; `InputError` for the last where a GPU takes steps."""
        if part == "data":
            data = data_path.measure(SECONDS, MEGABYTES, self.overrides)
            self.figures[part] = asdict(data)
            self.goals += data_goals(data)
        elif part == "startup":
            start = startup.measure(self.overrides)
            self.figures[part] = asdict(start)
            self.goals.append(start_goal(start))
        elif self.device != "cpu":
            raise InputError("neighbour: this machine has a GPU, and steps on CPUs are measured")
        else:
            disturbed = neighbour.measure(self.overrides)
            self.figures[part] = asdict(disturbed)
            self.goals += neighbour_goals(disturbed)
            logger.info(f"{disturbed.table()}\n")

    def all_goals(self) -> list[Goal]:
        """With those that only a GPU could decide."""
        return self.goals + (unmeasured_goals(self.device) if self.contests else [])

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "code": code_version(),
            "machine": f"{platform.processor() or platform.machine()}, {cores()} cores",
            "torch": torch.__version__,
            "transformers": package_version("transformers"),
            "races": [contest.as_json() for contest in self.contests],
            **self.figures,
            "goals": [asdict(goal) for goal in self.all_goals()],
        }


def choose(only: Sequence[str]) -> list[str]:
    """Ours, and the rivals whose names hold one of the words; `InputError` where none does, or they
    are not installed."""
    rivals = [name for name in CONTENDERS if name != OURS]
    chosen = [n for n in rivals if not only or any(w.lower() in n.lower() for w in only)]
    if not chosen:
        raise InputError(f"--only {' '.join(only)}: no rival is called so: {', '.join(rivals)}")
    missing = [x for x in ("transformers", "accelerate") if package_version(x) == "not installed"]
    if missing:
        raise InputError(f"the rivals need {' and '.join(missing)}: pip install -e .[dev]")
    return [OURS, *chosen]


def contest_goals(contest: Contest) -> list[Goal]:
    """The aims that this contest decides."""
    setting, outcomes = contest.setting, {outcome.name: outcome for outcome in contest.outcomes}
    key, where = (setting.device, setting.size), f"{setting.device}, {setting.title}"
    goals = []
    for name, aim in RATIOS.get(key, {}).items():
        if name in outcomes and not outcomes[name].failure:
            ratio = contest.ratio(outcomes[name])
            goals.append(Goal(where, f"against {name}", f"{ratio:.2f}x", f"{aim:g}x", ratio >= aim))
    if key in SHARES:
        share = outcomes[OURS].useful_flops / contest.peak_flops
        aim = SHARES[key]
        goals.append(Goal(where, "share of the peak", f"{share:.0%}", f"{aim:.0%}", share >= aim))
    return goals


def data_goals(data: data_path.DataPath) -> list[Goal]:
    """Those of the data path."""
    rate, ratio = data.batch_tokens_per_second, data.tokenising_ratio
    batches = f"{rate / 1e6:.1f}M tokens/s", f"{BATCHES / 1e6:g}M", rate >= BATCHES
    tokenised = f"{ratio:.2f}x ({data.tokenised_mb_per_second:.1f} MB/s)"
    return [
        Goal("data path", "batches ready, a core", *batches),
        Goal(
            "data path",
            "tokenising against encode_batch",
            tokenised,
            f"{TOKENISING:g}x",
            ratio >= TOKENISING,
        ),
    ]


def start_goal(start: startup.StartUp) -> Goal:
    """That of the start."""
    own = f"{start.own:.1f} s of {start.first_step:.1f} s"
    return Goal("start-up", "first step, beyond imports", own, f"{START:g} s", start.own <= START)


def neighbour_goals(disturbed: neighbour.Neighbour) -> list[Goal]:
    """Those of a machine that others use."""
    slower, lone = disturbed.ours.slowdown, disturbed.lone_ratio
    return [
        Goal("busy machine", "slower", f"{slower:.1f}x", f"{SLOWDOWN:g}x", slower <= SLOWDOWN),
        Goal("idle machine", "against spinning", f"{lone:.2f}x", f"{LONE:g}x", lone >= LONE),
    ]


def unmeasured_goals(device: str) -> list[Goal]:
    """The lines of a GPU, on a machine that has none."""
    if device == "cuda":
        return []
    aims = [
        (f"cuda, {size}", "share of the peak", f"{aim:.0%}")
        for (kind, size), aim in SHARES.items()
        if kind == "cuda"
    ]
    rival = f"against {UNPADDED}"
    aims += [("cuda", rival, "2x"), ("cuda, tweets", "against Hugging Face, padded", "4x")]
    return [Goal(where, what, NOT_MEASURED, aim, False) for where, what, aim in aims]


def summary(goals: list[Goal]) -> str:
    """All lines, with what is met."""
    where, what = (
        max([len(getattr(g, name)) for g in goals], default=0) for name in ("where", "what")
    )
    lines = [f"{'where':<{where}}  {'what':<{what}}  {'found':>24}  {'aim':>6}"]
    for goal in goals:
        mark = "" if goal.found == NOT_MEASURED else ("met" if goal.met else "missed")
        lines.append(
            f"{goal.where:<{where}}  {goal.what:<{what}}  {goal.found:>24}  {goal.aim:>6}  {mark}"
        )
    return "\n".join(lines)
