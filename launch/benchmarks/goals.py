"""What the contests and measurements came to, beside what was aimed at."""

from __future__ import annotations

from dataclasses import dataclass

from launch.benchmarks.contest import OURS, Contest, Outcome
from launch.benchmarks.data_path import DataPath
from launch.benchmarks.neighbour import Neighbour
from launch.benchmarks.startup import StartUp

RATIOS = {
    ("cpu", "small"): {"Hugging Face, as shipped": 6.0, "Hugging Face, tuned": 4.0},
    ("cpu", "base"): {"Hugging Face, as shipped": 2.0, "Hugging Face, tuned": 1.8},
    ("cuda", "base"): {"Hugging Face, tuned": 2.0},
    ("cuda", "large"): {"Hugging Face, tuned": 2.0},
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
class Goal:
    """One line of the summary."""

    where: str
    what: str
    found: str
    aim: str
    met: bool


def contest_table(contest: Contest) -> str:
    """Every contender's figures."""
    head = f"{'':<26}{'tokens/s':>10}{'ratio':>8}{'useful GFLOP/s':>16}{'of peak':>9}"
    head += f"{'waits':>7}{'memory MB':>11}{'ready s':>9}"
    title = f"{contest.setting.title}; {contest.setting.precision} matmul peak "
    title += f"{contest.peak_flops / 1e9:,.0f} GFLOP/s"
    return "\n".join([title, head, *(_line(contest, outcome) for outcome in contest.outcomes)])


def _line(contest: Contest, outcome: Outcome) -> str:
    if outcome.failure:
        return f"{outcome.name:<26}  failed: {outcome.failure}"
    ratio = "" if outcome.name == OURS else f"{contest.ratio(outcome):.2f}x"
    waits = "" if outcome.waiting is None else f"{outcome.waiting:.1%}"
    return (
        f"{outcome.name:<26}{outcome.tokens_per_second:>10,.0f}{ratio:>8}"
        f"{outcome.useful_flops / 1e9:>16,.1f}{outcome.useful_flops / contest.peak_flops:>9.1%}"
        f"{waits:>7}{outcome.memory / 1e6:>11,.0f}{outcome.ready_seconds:>9.1f}"
    )


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


def data_goals(data: DataPath) -> list[Goal]:
    """Those of the data path."""
    rate, ratio = data.batch_tokens_per_second, data.tokenising_ratio
    return [
        Goal(
            "data path",
            "batches ready, a core",
            f"{rate / 1e6:.1f}M tokens/s",
            f"{BATCHES / 1e6:g}M",
            rate >= BATCHES,
        ),
        Goal(
            "data path",
            "tokenising against encode_batch",
            f"{ratio:.2f}x ({data.tokenised_mb_per_second:.1f} MB/s)",
            f"{TOKENISING:g}x",
            ratio >= TOKENISING,
        ),
    ]


def start_goals(start: StartUp) -> list[Goal]:
    """That of the start."""
    own = f"{start.own:.1f} s of {start.first_step:.1f} s"
    return [Goal("start-up", "first step, beyond imports", own, f"{START:g} s", start.own <= START)]


def neighbour_goals(neighbour: Neighbour) -> list[Goal]:
    """Those of a machine that others use."""
    slower, lone = neighbour.ours.slowdown, neighbour.lone_ratio
    return [
        Goal("busy machine", "slower", f"{slower:.1f}x", f"{SLOWDOWN:g}x", slower <= SLOWDOWN),
        Goal("idle machine", "against spinning", f"{lone:.2f}x", f"{LONE:g}x", lone >= LONE),
    ]


def unmeasured_goals(device: str) -> list[Goal]:
    """The lines of a GPU, on a machine that has none."""
    if device == "cuda":
        return []
    shares = [
        Goal(f"cuda, {size}", "share of the peak", NOT_MEASURED, f"{aim:.0%}", False)
        for (kind, size), aim in SHARES.items()
        if kind == "cuda"
    ]
    rival = "against Hugging Face, tuned"
    ratios = [
        Goal("cuda", rival, NOT_MEASURED, "2x", False),
        Goal("cuda, tweets", f"{rival}, padded", NOT_MEASURED, "4x", False),
    ]
    return [*shares, *ratios]


def summary(goals: list[Goal]) -> str:
    """All lines, with what is met."""
    where, what = (max(len(getattr(g, name)) for g in goals) for name in ("where", "what"))
    lines = []
    for goal in goals:
        mark = "" if goal.found == NOT_MEASURED else ("met" if goal.met else "missed")
        lines.append(
            f"{goal.where:<{where}}  {goal.what:<{what}}  {goal.found:>24}  {goal.aim:>6}  {mark}"
        )
    header = f"{'where':<{where}}  {'what':<{what}}  {'found':>24}  {'aim':>6}"
    return "\n".join([header, *lines])
