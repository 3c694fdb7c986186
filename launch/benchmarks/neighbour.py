"""How much one busy process slows a run down, with our way of waiting and with OpenMP's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

import torch

from configs.errors import RunError
from launch.benchmarks.contenders import Setting
from launch.benchmarks.contest import OURS, ContenderProcess, Outcome, running
from pretrain.engine.precision import choose_precision
from pretrain.ranks.process import let_waiting_threads_sleep
from pretrain.ranks.world import World

ROUNDS, SECONDS = 3, 4.0
LENGTH = 128
OPENMP = {"GOMP_SPINCOUNT": "300000"}
"""what GNU's library does by itself"""
BUSY = "while True: pass"


@dataclass
class Rates:
    """Tokens/s of the small model's training step, turn by turn."""

    alone: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)

    @property
    def slowdown(self) -> float:
        """How many times slower the neighbour makes it, the median over rounds."""
        return median(a / b for a, b in zip(self.alone, self.disturbed))


@dataclass
class Neighbour:
    """Both ways of waiting, in turns on one machine."""

    ours: Rates
    openmp: Rates

    @property
    def lone_ratio(self) -> float:
        """Ours to OpenMP's, undisturbed."""
        return median(mine / theirs for mine, theirs in zip(self.ours.alone, self.openmp.alone))

    def table(self) -> str:
        """Medians over rounds."""
        lines = [f"{'threads that wait':<26}{'alone':>10}{'disturbed':>12}{'slower':>9}"]
        for name, rates in (("sleep soon (ours)", self.ours), ("spin (OpenMP's way)", self.openmp)):
            alone, disturbed = median(rates.alone), median(rates.disturbed)
            lines.append(f"{name:<26}{alone:>10,.0f}{disturbed:>12,.0f}{rates.slowdown:>8.1f}x")
        return "\n".join(
            ["tokens/s, small model, beside a process that keeps one core busy", *lines]
        )


def measure(overrides: tuple[str, ...] = ()) -> Neighbour:
    """Steps of the small model, alone and beside a busy process, in turns.

    Raises:
        RunError: a process has failed.
    """
    precision = choose_precision("auto", World(0, 1, torch.device("cpu"))).name
    setting = Setting("small", LENGTH, precision, "cpu", overrides=overrides)
    result = Neighbour(Rates(), Rates())
    with ExitStack() as stack:
        pairs = []
        for rates, spins in ((result.ours, None), (result.openmp, OPENMP)):
            with environment(spins):
                pairs.append((rates, stack.enter_context(running(Outcome(OURS), setting))))
        for _ in range(ROUNDS):
            for rates, process in pairs:
                rates.alone.append(_turn(process))
                with busy():
                    rates.disturbed.append(_turn(process))
    return result


@contextmanager
def environment(spins: dict[str, str] | None) -> Iterator[None]:
    """Of a process that is started meanwhile: `spins`; None: what a launch script sets."""
    before = dict(os.environ)
    for name in ("OMP_WAIT_POLICY", *OPENMP):
        os.environ.pop(name, None)
    if spins is None:
        let_waiting_threads_sleep()
    os.environ.update(spins or {})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def busy() -> Iterator[None]:
    """A process of its own that never waits."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _turn(process: ContenderProcess) -> float:
    process.turn(SECONDS)
    if process.outcome.failure:
        raise RunError(f"the small model's steps {process.outcome.failure}")
    last = process.outcome.rounds[-1]
    return last.tokens / last.seconds
