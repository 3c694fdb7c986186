"""Those who are compared: this project's own trainer, and what all have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from launch.benchmarks.setting import Setting


@dataclass(frozen=True)
class Round:
    """What one contender did in one turn."""

    tokens: int
    """real ones: padding does not count"""
    flops: float
    """useful ones (see `pretrain.model.flops`), whatever the contender really computed"""
    seconds: float
    waiting: float | None = None
    """seconds of them without a batch; None: not known"""


class Contender(ABC):
    """A training loop that can be asked for some seconds of work."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.device = setting, torch.device(setting.device)

    @abstractmethod
    def run(self, seconds: float) -> Round:
        """Train for about so long, two steps at least; ends when the device has done its work."""

    def trace(self, path: Path) -> None:
        """Two steps under torch's profiler, to a file that Perfetto and chrome://tracing open."""
        with torch.profiler.profile() as profile:
            self.run(0.0)
        profile.export_chrome_trace(str(path))

    def wait(self) -> None:
        """For what the device still has to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Masklab(Contender):
    """The trainer of `launch/pretrain.py` under DeepSpeed, with its data path, its clipping, its
    fused AdamW and its sums for the log."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__(setting)
        from pretrain.data.prepare import prepare
        from pretrain.engine.trainer import Trainer
        from pretrain.ranks import world
        from pretrain.ranks.preemption import PreemptionNotice
        from pretrain.ranks.watchdog import Watchdog

        config = setting.config(folder)
        # Between its turns a contender is silent for as long as the others need.
        watchdog = Watchdog(float("inf"), folder, rank=0)
        self.trainer = Trainer(
            config, world.start(), prepare(config), None, PreemptionNotice(), watchdog
        )
        self.trainer.engine.train()
        self.batches = enumerate(self.trainer.batches.prefetched(0, None))

    def run(self, seconds: float) -> Round:
        """Real steps of the trainer; a log window adds them up, and is read by nobody."""
        from pretrain.engine.log_window import Window

        loop, window = self.trainer.loop, Window(self.device)
        started, tokens, waiting = perf_counter(), 0, 0.0
        while len(window) < 2 or perf_counter() - started < seconds:
            asked = perf_counter()
            step, batches = next(self.batches)
            waiting += perf_counter() - asked
            divisors, _ = loop.agree(batches)
            loop.take_step(step, batches, divisors, window)
            tokens += sum(len(batch.tokens_T) for batch in batches)
        self.wait()
        return Round(tokens, window.flops, perf_counter() - started, waiting)
