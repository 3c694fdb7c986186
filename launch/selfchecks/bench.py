"""What every check may ask for: its device, its time, its folder, and what earlier parts found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from launch.selfchecks.finding import Finding

if TYPE_CHECKING:  # torch takes seconds to import, which a part that needs none does not spend
    import torch

    from configs.schema import PrecisionName
    from pretrain.ranks.world import World


@dataclass
class Bench:
    """A part's surroundings, in its own process."""

    folder: Path
    """of its own"""
    seconds: float
    """that it may take"""
    known: Mapping[str, Any] = field(default_factory=dict)
    """the values of all findings of earlier parts, by `part/check`"""
    text: Path | None = None
    """a file of the user's to learn from; None: what every installation has"""
    started: float = field(default_factory=monotonic)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (monotonic() - self.started)

    def number(self, check: str, name: str) -> float | None:
        """What an earlier part measured, as in `number("machine/peak bf16", "flops")`."""
        found = self.known.get(check, {}).get(name)
        return float(found) if isinstance(found, (int, float)) else None

    @cached_property
    def device(self) -> torch.device:
        """The first GPU, or the CPU with all cores that this process may use."""
        import torch

        from pretrain.ranks.process import ask_for_equal_bits, use_memory_well
        from pretrain.ranks.world import cores

        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        torch.set_num_threads(cores())
        ask_for_equal_bits()
        use_memory_well()
        return torch.device("cpu")

    @property
    def on_cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    @cached_property
    def precisions(self) -> list[PrecisionName]:
        """Types that this device multiplies, by their names in configurations."""
        from pretrain.engine.precision import can_multiply_bf16

        return ["fp32", "bf16"] if can_multiply_bf16(self.device) else ["fp32"]

    @cached_property
    def world(self) -> World:
        """A group of one."""
        from pretrain.ranks import world

        return world.start("auto")


Check = Callable[[Bench], Iterator[Finding]]
"""Yields each finding as soon as it is there, so that a part which is killed has told what it
knows."""
