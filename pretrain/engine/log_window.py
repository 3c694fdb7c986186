"""What happened since the last log line, summed up on the device: the loop never waits for it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """A window, read from the device."""

    names: tuple[str, ...]
    sums: Tensor
    """of the figures `names`, float64, over the steps that were taken; this rank's part"""
    taken: int
    skipped: tuple[int, ...]
    """numbers of the steps that were not: their gradient was not finite, on all ranks alike"""
    norm: float
    """gradient norm of the last step that was taken; nan if none was"""
    flops: float = 0.0
    """of the steps that were taken; this rank's part"""


class Window:
    """One step after the other; `read` waits for the device, nothing else does."""

    def __init__(self, device: torch.device) -> None:
        self.started = time.monotonic()
        self.learning_rate = self.progress = 0.0
        self._names: tuple[str, ...] = ()
        self._sums = self._step = self._zero = torch.zeros((), dtype=torch.float64, device=device)
        self._norm = torch.full((), float("nan"), device=device)
        self._steps: list[int] = []
        self._skipped: list[Tensor] = []
        self._losses: dict[int, list[Tensor]] = {}
        self._flops: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: int, loss: Tensor, figures: dict[str, Tensor], flops: float = 0.0) -> None:
        """A micro-batch of `step`; all of a window have figures of the same names."""
        self._names = tuple(figures)
        self._step = self._step + torch.stack([v.detach().double() for v in figures.values()])
        self._losses.setdefault(step, []).append(loss.detach())
        self._flops[step] = self._flops.get(step, 0.0) + flops

    @property
    def flops(self) -> float:
        """Of all steps so far, skipped ones included: does not wait for the device."""
        return sum(self._flops.values())

    def close_step(self, step: int, norm: Tensor, learning_rate: float) -> None:
        """The last micro-batch of `step` was added; `norm` decided whether it was taken."""
        skipped = ~torch.isfinite(norm)
        self._sums = self._sums + torch.where(skipped, self._zero, self._step)
        self._norm = torch.where(skipped, self._norm, norm)
        self._step = self._zero
        self._steps.append(step)
        self._skipped.append(skipped)
        self.learning_rate = learning_rate

    def read(self) -> Reading:
        """What the device has found."""
        flags = torch.stack(self._skipped).tolist()
        skipped = tuple(step for step, flag in zip(self._steps, flags) if flag)
        flops = self.flops - sum(self._flops.get(step, 0.0) for step in skipped)
        taken = len(flags) - len(skipped)
        return Reading(self._names, self._sums, taken, skipped, float(self._norm), flops)

    def losses(self, step: int) -> list[float]:
        """This rank's loss of each micro-batch of a step."""
        return [float(loss) for loss in self._losses[step]]
