"""Those who are compared: what all of them train, and this project's own trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

from configs.loader import load_config
from configs.schema import PrecisionName, PretrainConfig, ResolvedPretrainConfig

SHAPES = {
    "small": {"layers": 4, "hidden_size": 256, "heads": 4, "feed_forward_size": 1024},
    "base": {"layers": 12, "hidden_size": 768, "heads": 12, "feed_forward_size": 3072},
    "large": {"layers": 24, "hidden_size": 1024, "heads": 16, "feed_forward_size": 4096},
}
TOKENS = {"small": 2048, "base": 1024, "large": 512}
TOKENS_ON_CUDA = 65_536
"""of a step, for every size"""


@dataclass(frozen=True)
class Setting:
    """What every contender of a contest trains: one shape, one batch size, one text."""

    size: str
    length: int
    precision: PrecisionName
    device: str
    dropout: float = 0.1
    next_sentence: bool = False
    overrides: tuple[str, ...] = ()
    micro_batches: int = 1
    """of a step"""

    @property
    def sequences(self) -> int:
        """Global batch, in sequences of full length."""
        tokens = TOKENS_ON_CUDA if self.device == "cuda" else TOKENS[self.size]
        return max(1, tokens // self.length)

    @property
    def micro_sequences(self) -> int:
        """Micro-batch, in sequences of full length."""
        return -(-self.sequences // self.micro_batches)

    @property
    def name(self) -> str:
        """In file names."""
        pairs = "-nsp" if self.next_sentence else ""
        return f"{self.size}-{self.length}-{self.precision}{pairs}"

    @property
    def title(self) -> str:
        """Above tables."""
        shape = SHAPES[self.size]
        pairs = ", with NSP" if self.next_sentence else ""
        return (
            f"{shape['layers']}x{shape['hidden_size']}, {self.sequences} x {self.length} tokens, "
            f"{self.precision}, dropout {self.dropout:g}{pairs}"
        )

    def config(self, run_dir: Path) -> ResolvedPretrainConfig:
        """Our configuration of it: BERT's vocabulary size, on the text that Python carries."""
        choices = [
            f"run_dir={run_dir}",
            "tokenizer={kind: wordpiece, vocabulary_size: 30522, lowercase: true, "
            "allow_smaller_vocabulary: true}",
            *(f"model.{name}={value}" for name, value in SHAPES[self.size].items()),
            f"model.dropout={self.dropout}",
            f"model.attention_dropout={self.dropout}",
            f"max_length={self.length}",
            f"batch.sequences={self.sequences}",
            f"batch.micro_sequences={self.micro_sequences}",
            f"engine.precision={self.precision}",
            "schedule={max_steps: 1000000}",
            "optimizer.learning_rate=1e-4",
        ]
        if self.next_sentence:
            choices += [
                "input_format=segment-pair",
                "next_sentence_prediction=true",
                "model={architecture: bert, segment_types: 2}",
            ]
        overrides = [*choices, *self.overrides]
        return load_config(PretrainConfig, "small.yaml", overrides).resolved()


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


class LeftOut(Exception):
    """Why a contender cannot train what a setting says."""


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
        from pretrain.data.corpus import prepare
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
        self.batches = enumerate(self.trainer.batches.prefetched(0, None, device=self.device))

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
