"""`engine.compile`: whether layers are compiled, decided once a run.

Whether torch's compiler works here is tried, not looked up: Triton may be there without the C
compiler, the headers of Python or the folder to write in that it asks for once it is used.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import torch

from configs.errors import InputError
from configs.schema import ModelConfig, PrecisionName
from configs.system.notes import LONGEST
from pretrain.model.attention import choose_backend
from pretrain.model.flops import DTYPES
from pretrain.model.scope import scopes_of
from pretrain.ranks.agreement import by_all
from pretrain.ranks.world import World

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compiling:
    """What was decided."""

    is_on: bool
    reason: str

    @property
    def facts(self) -> dict[str, bool | str]:
        """For environment.json."""
        return {"compile": self.is_on, "compile_reason": self.reason}


def choose_compiling(
    asked: bool | Literal["auto"],
    shape: ModelConfig,
    precision: PrecisionName,
    world: World,
    before: bool | None = None,
) -> Compiling:
    """The same on all ranks: what is asked for, or with `auto` whether it works on all of them.

    Args:
        asked: `engine.compile`.
        precision: what `engine.precision` was resolved to.
        before: what a resumed run did, which decides for `auto`.
    Raises:
        InputError: on all ranks: it was asked for, and works not on all.
    """
    if not asked:
        return Compiling(False, "engine.compile=false")
    if asked == "auto" and before is False:
        return Compiling(False, "the run began without it")
    obstacle = attention_lacks(shape, precision, world.device)
    if obstacle is None:
        obstacle = next(filter(None, world.gather(failure(world.device))), None)
    if obstacle is None:
        return Compiling(True, f"engine.compile={str(asked).lower()}, and a trial worked")
    if asked is True:
        raise by_all(InputError(f"engine.compile=true: {obstacle}: set engine.compile=false"))
    if world.is_main and world.device.type == "cuda":
        logger.info(f"engine.compile=auto: layers are not compiled: {obstacle}")
    return Compiling(False, obstacle)


def attention_lacks(
    shape: ModelConfig, precision: PrecisionName, device: torch.device
) -> str | None:
    """Why no layer of this model can be compiled; None: attention takes flash's way.

    The others ask Python at every step.
    """
    longest, scopes = shape.max_positions, scopes_of(shape)
    backend = choose_backend(shape.attention, device, DTYPES[precision], longest, 0.0, scopes)
    if backend == "flash":
        return None
    return (
        f"attention={backend} cannot be compiled, only flash (a GPU, engine.precision=bf16, no "
        "ALiBi)"
    )


def failure(device: torch.device) -> str | None:
    """Why torch compiles nothing for a device; None: it did, in seconds, and what it made runs."""
    try:
        torch.compile(lambda x: 2 * x + 1, fullgraph=True)(torch.ones(8, device=device)).tolist()
    except Exception as error:  # torch's, Triton's, a C compiler's or the system's: of no one kind
        lines = [line for line in str(error).splitlines() if not line.startswith("backend=")]
        reason = next(filter(str.strip, lines), type(error).__name__)
        return f"torch's compiler fails: {reason.strip()[:LONGEST]}"
    return None
