"""`engine.precision: auto`: bf16 where this machine is clearly faster in it, decided once.

On CPUs the instruction set does not tell: processors with AVX512-BF16 were measured to multiply
bf16 4 times faster than fp32, and half as fast. So a race decides. A choice that fell anew at each
start would fall by chance on a busy machine, and no two runs would compare: it is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from configs.errors import InputError
from configs.schema import PrecisionName
from pretrain.engine.machine import CACHE, Known, Remembered
from pretrain.model.flops import DTYPES, seconds_per_product
from pretrain.ranks.world import World

CLEARLY_FASTER = 1.5
"""times as fast as fp32 that bf16 must be: its matrix products are not all of a step"""
DOUBT = 1.25
"""a ratio further than this factor from `CLEARLY_FASTER` leaves none"""
ROUNDS, LONGEST_SECONDS = 5, 2.0
"""of a race: at the least, and at the most where the ratio is in doubt"""
RACING: tuple[PrecisionName, PrecisionName] = ("fp32", "bf16")
ROWS = {"cpu": 256, "cuda": 4096}
"""of the products in a race: few, so that some of them run undisturbed on a busy machine"""


@dataclass(frozen=True)
class Precision:
    """What was chosen."""

    name: PrecisionName
    reason: str
    source: str
    """where it is from"""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason} ({self.source})"

    @property
    def facts(self) -> dict[str, str]:
        """For environment.json."""
        names = ("precision", "precision_reason", "precision_source")
        return dict(zip(names, (self.name, self.reason, self.source)))


def choose_precision(
    asked: Literal["auto"] | PrecisionName,
    world: World,
    cache: str | Path = CACHE,
    before: PrecisionName | None = None,
) -> Precision:
    """The same on all ranks: what is asked for, or with `auto` what rank 0 finds or remembers.

    Args:
        asked: `engine.precision`.
        cache: folder that remembers.
        before: what a resumed run began with: another would bend its curve.
    Raises:
        InputError: this device has no TF32.
    """
    if (before or asked) == "tf32":
        require_tf32(world.device)
    if before:
        found = Precision(before, "the run began with it", "what it left behind")
        if asked not in ("auto", before):
            found = replace(found, reason=f"{found.reason}, engine.precision={asked} or not")
        return found
    if asked != "auto":
        reason = f"engine.precision={asked}"
        if asked == "fp32" and world.device.type == "cuda":
            reason += ", whose products have no use for tensor cores: those of tf32 do"
        return Precision(asked, reason, "the configuration")
    decided = world.from_main(_decide(world.device, cache) if world.is_main else None)
    assert decided is not None, "rank 0 has decided"
    return decided


def _decide(device: torch.device, cache: str | Path) -> Precision:
    # Without instructions for it, bf16 would take ten seconds to lose by a hundred to one.
    if not can_multiply_bf16(device):
        return Precision(
            "fp32", "this processor has no instructions for bf16", "engine.precision=auto"
        )
    memory = Remembered(device, cache)
    with memory.locked():
        known = memory.read()
        name, source = known.precision, f"remembered in {memory.path}, measured {known.measured}"
        if name is None:
            ratio = race(lambda name: _speed(device, name))
            name = "bf16" if ratio > CLEARLY_FASTER else "fp32"
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            known = Known(name, ratio, when, known.peaks)
            memory.write(known)
            source = f"measured now, {when}"
    reason = f"bf16 multiplies {known.ratio:.2f} times as fast as fp32, {CLEARLY_FASTER} is asked"
    return Precision(name, reason, source)


def race(speed: Callable[[str], float], clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times as fast as fp32 bf16 is.

    Both take turns, so that other work on the machine meets both, and the best of each counts: a
    disturbed turn is too slow, none is too fast. The race ends as soon as the best and the median
    turn agree beyond doubt, and at the latest after `LONGEST_SECONDS`.

    Args:
        speed: one turn of a precision; any unit.
    """
    best, ratios, end = dict.fromkeys(RACING, 0.0), [], clock() + LONGEST_SECONDS
    while True:
        turn = {name: speed(name) for name in best}
        best = {name: max(best[name], turn[name]) for name in best}
        ratios.append(turn["bf16"] / turn["fp32"])
        ratio = best["bf16"] / best["fp32"]
        sides = {_side(ratio), _side(median(ratios))}
        if clock() >= end or (len(ratios) >= ROUNDS and len(sides) == 1 and 0 not in sides):
            return ratio


def _side(ratio: float) -> int:
    """1: clearly faster; -1: clearly not; 0: in doubt."""
    if ratio > CLEARLY_FASTER * DOUBT:
        return 1
    return -1 if ratio < CLEARLY_FASTER / DOUBT else 0


def _speed(device: torch.device, name: str) -> float:
    """Products per second, after one that warms up."""
    size = 1024 if device.type == "cpu" else 4096
    a = torch.ones(ROWS[device.type], size, dtype=DTYPES[name], device=device)
    b = torch.ones(size, size, dtype=DTYPES[name], device=device)
    seconds_per_product(a, b, repeats=1)
    return 1 / seconds_per_product(a, b, repeats=1)


def require_tf32(device: torch.device) -> None:
    """Raise `InputError` unless this is a GPU that multiplies in TF32."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        raise InputError(
            "engine.precision=tf32 needs an NVIDIA GPU of the year 2020 (A100) or later: choose "
            "fp32, or auto"
        )


def can_multiply_bf16(device: torch.device) -> bool:
    """Whether more than an emulation by single numbers is there."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
