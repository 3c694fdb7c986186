"""What was measured of this machine, kept in the cache folder so that later runs need not guess.

    <cache>/machines/<16 hexadecimal digits>.json      one file for each machine and build

A file tells which machine it is of, the precision that was chosen for it (`precision.py`), and the
highest matmul peaks that were seen. Whatever is wrong with a file, it is told and made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from configs.errors import InputError
from configs.schema import PrecisionName
from configs.system.files import write_text
from configs.system.waiting import acquire
from pretrain.model.flops import DTYPES, matmul_peak

logger = logging.getLogger(__name__)

CACHE = "~/.cache/masklab"
"""where no configuration names a folder"""
MOST_FLOPS = 1e17
"""per second, of any device to come: what is beyond is no measurement"""


@dataclass(frozen=True)
class Known:
    """What is known of a machine."""

    precision: PrecisionName | None = None
    ratio: float | None = None
    """times as fast as fp32 bf16 was, when the precision was chosen"""
    measured: str | None = None
    """when that was"""
    peaks: dict[str, float] = field(default_factory=dict)
    """FLOP/s by precision"""

    def __post_init__(self) -> None:
        """Raise `ValueError` where a file holds something else."""
        is_open = self.precision is None
        good = is_open or (self.precision in DTYPES and isinstance(self.measured, str))
        good &= is_open or _is_number(self.ratio)
        good &= all(name in DTYPES and _is_number(peak) for name, peak in self.peaks.items())
        if not good:
            raise ValueError("not what a file of a machine holds")


class Remembered:
    """The file of this machine and this build of torch."""

    def __init__(self, device: torch.device, cache: str | Path = CACHE) -> None:
        self.machine = identity(device)
        content = json.dumps(self.machine, sort_keys=True).encode()
        folder = Path(cache).expanduser() / "machines"
        self.path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time measures, and the others read what it found."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_suffix(".lock"))
            acquire(lock, "another process to measure this machine")
        except OSError as error:
            logger.warning(f"{self.path.parent}: {error.strerror}: what is measured is not kept")
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def read(self) -> Known:
        """What is known; nothing, in words, where the file is damaged or of another machine."""
        if not self.path.is_file():
            return Known()
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content.pop("machine") != self.machine:
                raise ValueError("of another machine")
            return Known(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            logger.warning(f"{self.path} is damaged or of another machine: measuring anew")
            return Known()

    def write(self, known: Known) -> None:
        """Take the place of what was known."""
        content = {"machine": self.machine, **vars(known)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(content, indent=1) + "\n")
        except (OSError, InputError) as error:
            logger.warning(f"what was measured is not kept: {error}")


class Peak:
    """FLOP/s of a large matrix product in one rank: the highest that was seen.

    Other work on the machine makes a measurement too low, never too high.
    """

    def __init__(
        self, device: torch.device, precision: PrecisionName, memory: Remembered | None = None
    ) -> None:
        """`memory` remembers; None, for all ranks but the first: nothing."""
        self.device, self.precision, self.memory = device, precision, memory
        self.flops = 0.0
        if memory:
            self.flops = memory.read().peaks.get(precision, 0.0)
        self.measure()

    def measure(self) -> None:
        """Measure once more and keep the higher figure."""
        self.flops, before = max(self.flops, matmul_peak(self.device, self.precision)), self.flops
        if self.memory and self.flops > before:
            with self.memory.locked():
                known = self.memory.read()
                if self.flops > known.peaks.get(self.precision, 0.0):
                    peaks = {**known.peaks, self.precision: self.flops}
                    self.memory.write(replace(known, peaks=peaks))

    def share(self, rate: float) -> float:
        """`rate` FLOP/s as a share of the peak, 1 at the most.

        Whoever computes faster than the peak shows that it was measured under load: it is measured
        again, and is at least `rate`.
        """
        if rate > self.flops:
            before = self.flops
            self.measure()
            self.flops = max(self.flops, rate)
            if self.memory:
                logger.warning(
                    f"the matmul peak, {before / 1e12:.2f} TFLOP/s, was measured under load: "
                    f"it is {self.flops / 1e12:.2f} at least"
                )
        return rate / self.flops


def identity(device: torch.device) -> dict[str, Any]:
    """What decides how fast this device multiplies, as far as a program can tell."""
    build = {"torch": torch.__version__}
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return {**build, "device": found.name, "cuda": torch.version.cuda}
    return {
        **build,
        **processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Its name and, as a hash, its instructions; Linux tells both."""
    found = {}
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        pairs = (line.partition(":") for line in lines)
        found = {key.strip(): value.strip() for key, _, value in reversed(list(pairs))}
    name = found.get("model name") or platform.processor() or platform.machine()
    flags = " ".join(sorted((found.get("flags") or found.get("Features") or "").split()))
    return {"processor": name, "flags": hashlib.sha256(flags.encode()).hexdigest()[:16]}


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many in this process meanwhile, as a rank will."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 < value < MOST_FLOPS
