"""Kill a run at every stage of its life; does it end with the same bits?

    python tests/faults/kills.py [--kills 64] [--seed 0] [--only WORD ...] [--parallel 2]

Lives are lived once undisturbed, then under SIGKILL to all processes (or to the launcher, the
driver or a child alone) at random moments that lie in a stage; after each the same command is typed
again. At the end every file must say the same, times apart, and nothing may be left over.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.faults.ends import difference, end_of
from tests.faults.lives import LIVES, Life, Material
from tests.faults.stages import STAGES, Stage
from tests.faults.starts import Start

KILLS_OF_A_LIFE = 8
READERS = {"export", "predict"}
"""lives that read the undisturbed fine-tuning run; all but a few read the pretraining run"""
ROUNDS = 4
"""kills whose stage was over too soon are planned anew, so many times"""


@dataclass
class Outcome:
    """What became of one life."""

    life: Life
    hit: list[Stage] = field(default_factory=list)
    missed: list[Stage] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def plan(stages: list[Stage], kills: int, chance: random.Random) -> list[Stage]:
    """So many kills: every stage once, then those that can come again the most often."""
    chosen = chance.sample(stages, min(kills, len(stages)))
    again = [stage for stage in stages if stage.again] * 3 + stages
    while len(chosen) < kills:
        chosen += chance.sample(again, min(kills - len(chosen), len(again)))
    return chosen


def share(kills: Iterable[Stage], chance: random.Random) -> list[tuple[Life, list[Stage]]]:
    """Kills dealt to lives; what comes once in a life is in one only once."""
    hands: list[tuple[Life, list[Stage]]] = []
    for stage in kills:
        life = next(life for life in LIVES if life.name == stage.life)
        fitting = (
            hand
            for owner, hand in hands
            if owner is life and len(hand) < KILLS_OF_A_LIFE and (stage.again or stage not in hand)
        )
        hand = next(fitting, None)
        if hand is None:
            hand = []
            hands.append((life, hand))
        hand.append(stage)
    for _, hand in hands:
        chance.shuffle(hand)
        hand.sort(key=lambda stage: (stage.command, stage.order))
    return sorted(hands, key=lambda dealt: -len(dealt[1]))


def live(
    life: Life, material: Material, work: Path, kills: list[Stage], chance: random.Random
) -> Outcome:
    """Type a life's commands in `work`, kill them where it is planned, and type them again."""
    work.mkdir(parents=True)
    outcome, number, orphans = Outcome(life), 0, []
    for place, words in enumerate(life.commands(material)):
        todo = [stage for stage in kills if stage.command == place]
        while True:
            number += 1
            start = Start(words, work, work.with_name(f"{work.name}-{number:02d}.txt"))
            if todo:
                stage = todo.pop(0)
                if start.strike(stage.is_now, stage.span, stage.whom, chance):
                    tell(stage, start, work)
                    outcome.hit.append(stage)
                    orphans += settle(start, stage, outcome)
                    continue
                outcome.missed += [stage, *todo]
                todo = []
            if code := start.wait():
                said = start.output.read_text(errors="replace").strip().split("\n")[-1]
                outcome.faults.append(f"exit code {code}: {said} ({start.output})")
                return outcome
            break
    for orphan in orphans:
        orphan.wait()
    return outcome


def settle(start: Start, stage: Stage, outcome: Outcome) -> list[Start]:
    """Wait for what is to end after a kill; returns a start whose children are to continue."""
    if stage.whom == "first" and stage.life == "ablate":
        start.process.wait()
        return [start]
    start.wait()
    if stage.whom == "first" and start.status("run") != "preempted":
        outcome.faults.append(f"ranks continued without their launcher ({start.output})")
    return []


def tell(stage: Stage, start: Start, work: Path) -> None:
    """A line for a kill."""
    step = "".join(f", step {s}" for _, s in [start.last("run")] if s)
    line = f"{work.name:<18} {stage.title:<36} {start.seconds:5.1f} s after its start{step}"
    print(line, flush=True)


def judge(outcome: Outcome, work: Path, calm: Path) -> Outcome:
    """Compare the end of a life with the undisturbed one."""
    outcome.faults += difference(end_of(calm), end_of(work))
    return outcome


def live_calmly(names: Iterable[str], material: Material, parallel: int) -> None:
    """The undisturbed lives, those first that others read."""

    def calm(name: str) -> None:
        life = next(life for life in LIVES if life.name == name)
        outcome = live(life, material, material.folder / "calm" / name, [], random.Random(0))
        if outcome.faults:
            raise SystemExit(f"{name}, undisturbed: {outcome.faults[0]}")

    wanted = {"pretrain", *names}
    if wanted & READERS:
        wanted.add("finetune")
    for turn in ({"pretrain"}, wanted - READERS - {"pretrain"}, wanted & READERS):
        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(calm, sorted(turn)))


def report(outcomes: list[Outcome], wanted: int) -> int:
    """The summary; returns the exit code."""
    hit = Counter(stage for outcome in outcomes for stage in outcome.hit)
    print(f"\n{'stage':<38}kills")
    for stage in STAGES:
        if hit[stage]:
            print(f"{stage.title:<38}{hit[stage]:>5}")
    total = sum(hit.values())
    training = sum(count for stage, count in hit.items() if stage.is_training)
    faults = [f"{o.life.name}: {fault}" for o in outcomes for fault in o.faults]
    for fault in faults:
        print(f"NOT THE SAME  {fault}")
    print(
        f"{total} kills in {len(outcomes)} lives, {total - training} of them outside training: "
        f"{'NOT all ends are the same' if faults else 'every end is bit for bit the same'}"
    )
    if total < wanted:
        print(f"{wanted - total} kills came too late: their stages were over")
    return 1 if faults or total < wanted else 0


def rounds(
    kills: list[Stage], material: Material, parallel: int, chance: random.Random
) -> list[Outcome]:
    """Live until every kill was made, or too often too late."""
    outcomes: list[Outcome] = []

    def one(task: tuple[int, tuple[Life, list[Stage]], int]) -> Outcome:
        number, (life, hand), seed = task
        work = material.folder / f"{life.name}-{number}"
        outcome = live(life, material, work, hand, random.Random(seed))
        return judge(outcome, work, material.folder / "calm" / (life.calm or life.name))

    for _ in range(ROUNDS):
        hands = share(kills, chance)
        seeds = [chance.randrange(2**32) for _ in hands]
        numbers = range(len(outcomes), len(outcomes) + len(hands))
        with ThreadPoolExecutor(parallel) as pool:
            found = list(pool.map(one, zip(numbers, hands, seeds)))
        outcomes += found
        kills = [stage for outcome in found for stage in outcome.missed]
        if not kills:
            break
    return outcomes


def main() -> None:
    """Live undisturbed and disturbed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="in stages' names")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="lives at a time")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chance = random.Random(arguments.seed)
    stages = [stage for stage in STAGES if any(w in stage.title for w in arguments.only)]
    kills = plan(stages, arguments.kills, chance)
    material = Material(Path(tempfile.mkdtemp(prefix="kills-")))
    material.write()
    lives = {life.name: life for life in LIVES}
    calm = {lives[stage.life].calm or stage.life for stage in kills}
    live_calmly(calm, material, arguments.parallel)
    code = report(rounds(kills, material, arguments.parallel, chance), len(kills))
    if code:
        print(f"everything is in {material.folder}")
    else:
        shutil.rmtree(material.folder)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
