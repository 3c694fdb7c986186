"""Checkpoints that are written while training goes on, beside those that it waits for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from configs.schema import CheckpointConfig
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import Finding, judged, told
from launch.selfchecks.steps import SIZES, Setting, Steps
from pretrain.run.checkpoint import MANIFEST, Writer, find_damage
from pretrain.run.checkpoint_folder import checkpoint_in
from pretrain.run.checkpoint_state import State

AHEAD = 3
"""steps that are taken while a thread writes"""


@dataclass(frozen=True)
class Saved:
    """A checkpoint, and what it took."""

    path: Path
    waited: float
    """seconds for which the loop stood still"""
    whole: float
    """seconds until all of it was there"""

    @property
    def hashes(self) -> str:
        """Of every file; empty where one is not what it was written as."""
        return "" if find_damage(self.path) else (self.path / MANIFEST).read_text(encoding="utf-8")


def check(bench: Bench) -> Iterator[Finding]:
    """One state saved in both ways; in the second, steps change it meanwhile."""
    steps = Steps(Setting(bench, "auto", *SIZES[bench.device.type][0]))
    steps.take()
    try:
        yield from compare(save(bench.folder, steps, False), save(bench.folder, steps, True))
    finally:
        for folder in bench.folder.glob("checkpoints-*"):
            shutil.rmtree(folder)  # gigabytes


def save(folder: Path, steps: Steps, asynchronous: bool) -> Saved:
    """Save the state, and go on training where that is what it is for."""
    folder /= f"checkpoints-{'asynchronous' if asynchronous else 'waiting'}"
    writer = Writer(folder, CheckpointConfig(asynchronous=asynchronous))
    steps.wait()
    began = perf_counter()
    writer.save(steps.engine, State(1))
    waited = perf_counter() - began
    if asynchronous:
        for _ in range(AHEAD):
            steps.take()
    writer.wait()
    return Saved(checkpoint_in(folder, 1), waited, perf_counter() - began)


def compare(waiting: Saved, asynchronous: Saved) -> Iterator[Finding]:
    """Whether both hold the same, and what the thread saves the loop."""
    equal = waiting.hashes == asynchronous.hashes != ""
    text = f"{AHEAD} steps while it is written, and the files {'equal' if equal else 'DIFFER'}"
    yield judged("checkpoint.asynchronous", equal, text, equal=equal)
    size = sum(path.stat().st_size for path in asynchronous.path.iterdir())
    text = f"{asynchronous.waited:.2f} s of {asynchronous.whole:.2f} s, without it "
    text += f"{waiting.waited:.2f} s, for {size / 1e9:.3f} GB"
    values = {"waited": asynchronous.waited, "without": waiting.waited, "size": size}
    yield told("the loop waits", text, **values)
