"""What the loop asks of whatever it trains: pretraining and fine-tuning each answer it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from torch import Tensor

from pretrain.data.batches import Batch, Steps
from pretrain.engine.engine import Engine
from pretrain.engine.reporter import Reporter
from pretrain.optim.schedule import Schedule
from pretrain.run.checkpoint import Tensors


@dataclass(frozen=True)
class Share:
    """What one micro-batch adds to a step, divided by the counts of the global batch (law 2)."""

    loss: Tensor
    """to differentiate; summed over micro-batches and ranks it is the step's"""
    figures: dict[str, Tensor]
    """what the log shows, under the names of metrics.jsonl: sums over the step, means over steps"""
    flops: float = 0.0
    """useful ones, forward and backward; 0: nobody counts them"""


class Objective(ABC, Generic[Batch]):
    """Data, loss and evaluation of a training run; every rank makes the same calls.

    `seed` keys dropout. `name` tells apart the models that one process trains one after the other.
    """

    engine: Engine
    data: Steps[Batch]
    schedule: Schedule
    reporter: Reporter
    seed: int
    name: str = ""
    saves_last_step = True
    """whether the state after the last step stays, as a checkpoint"""

    def begin(self, step: int) -> None:
        """What holds from `step` on, should it differ from the step before."""

    @abstractmethod
    def counts(self, batches: Sequence[Batch]) -> tuple[float, ...]:
        """This rank's part of what the losses of a step are divided by; summed over all ranks."""

    def divisors(self, counts: Sequence[float]) -> tuple[float, ...]:
        """What a step's losses are divided by, from the counts of all ranks: never 0.

        May raise, on all ranks alike, where the counts say that a rank cannot continue.
        """
        return tuple(max(count, 1.0) for count in counts)

    @abstractmethod
    def share(self, batch: Batch, divisors: tuple[float, ...]) -> Share:
        """Forward pass of a micro-batch, which still lies on the CPU."""

    @abstractmethod
    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation is due once `step` steps are done."""

    @abstractmethod
    def evaluate(self, step: int) -> bool:
        """Score held-out examples and report it; returns whether training ends here."""

    def finish(self, step: int) -> None:
        """What is measured once, after the last step and its evaluation."""

    def guarded(self, steps: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
        """The steps' micro-batches; may catch what reading them raises on one rank alone."""
        return steps

    def certify(self, step: int, beat: Callable[[], None]) -> None:
        """What must hold before a checkpoint is written; `beat` tells that it is only slow."""

    def extra_state(self) -> tuple[dict[str, Any], Tensors]:
        """What a resume needs beside weights and moments: plain JSON, and tensors on the CPU."""
        return {}, {}
