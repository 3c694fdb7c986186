"""What a run needs of the machine: versions, disk, clock, threads."""

from __future__ import annotations

import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from configs.system.version import package_version
from launch.diagnosis.gpus import GIGA, nvlink

OLDEST = {"torch": (2, 6), "deepspeed": (0, 19)}
"""versions that setup.cfg allows"""
PROBE_BYTES = 64 * 2**20
SLOW_DISK = 50e6
"""bytes/s below which checkpoints are worth a warning"""
SKEW_SECONDS = 2.0


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: str
    """ok, warn or fail"""
    text: str
    """what was found, and where it is not ok, the cure"""


def check_environment(run_dir: Path, needed: int) -> list[Check]:
    """All checks; `needed` is the disk space of the run in bytes."""
    folder = _existing(run_dir)
    software = [check_version(name, version) for name, version in OLDEST.items()]
    python = Check("python", "ok", platform.python_version())  # an older one starts no command
    machine = [check_accelerator(), check_threads(), check_space(folder, needed)]
    return [python, *software, *machine, *check_writing(folder)]


def check_version(name: str, oldest: tuple[int, int]) -> Check:
    """Whether a library is there, and new enough; it is not imported."""
    version, wish = package_version(name), ".".join(map(str, oldest))
    if version == "not installed":
        return Check(name, "fail", f"{version}: pip install {name}>={wish}")
    if version_of(version) < oldest:
        return Check(name, "fail", f"{version}: update to {wish} or later")
    return Check(name, "ok", version)


def version_of(text: str) -> tuple[int, int]:
    """Major and minor of a version such as 2.13.0+cpu."""
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def check_accelerator() -> Check:
    """CUDA, links, bf16 and NCCL of this machine; one without is no error: jobs run elsewhere."""
    if not torch.cuda.is_available():
        built = torch.version.cuda
        if built and shutil.which("nvidia-smi"):
            cure = "nvidia-smi is here but CUDA does not start: compare driver and torch's CUDA"
            return Check("accelerator", "warn", f"torch for CUDA {built}; {cure}")
        return Check("accelerator", "ok", "none on this machine: gloo on the CPU")
    name = torch.cuda.get_device_name(0)
    nccl_version: Callable[[], tuple[int, ...]] = torch.cuda.nccl.version
    nccl = ".".join(map(str, nccl_version()))
    text = f"{torch.cuda.device_count()} x {name}, CUDA {torch.version.cuda}, NCCL {nccl}"
    if torch.cuda.device_count() > 1:
        speed = nvlink()
        text += f", NVLink {speed / GIGA:,.0f} GB/s" if speed else ", no NVLink: PCIe"
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return Check("accelerator", "warn", f"{text}; no bf16: set engine.precision=fp32")
    return Check("accelerator", "ok", text)


def check_threads() -> Check:
    """Cores that this process may use, and settings that would fight over them."""
    may = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = os.environ.get("OMP_NUM_THREADS")
    text = f"{may} of {os.cpu_count()} cores"
    if asked and asked.isdigit() and int(asked) > (may or 1):
        cure = "unset it: ranks share the cores by themselves"
        return Check("threads", "warn", f"{text}, but OMP_NUM_THREADS={asked}: {cure}")
    return Check("threads", "ok", text)


def check_space(folder: Path, needed: int) -> Check:
    """Free space where the run folder will be."""
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:,.1f} GB free at {folder}, {needed / 1e9:,.1f} GB needed"
    if free < needed:
        cure = "lower checkpoint.keep or set run_dir to a larger disk"
        return Check("disk space", "fail", f"{text}: {cure}")
    if free < 1.5 * needed:
        return Check("disk space", "warn", f"{text}: that is tight")
    return Check("disk space", "ok", text)


def check_writing(folder: Path) -> list[Check]:
    """Write speed, flushed to the disk, and the clock of the file system against this host's."""
    probe = folder / f".doctor.{uuid.uuid4().hex[:8]}"
    block = os.urandom(2**20)
    try:
        # An unwritable folder is a finding too.
        started = time.perf_counter()
        with probe.open("wb", buffering=0) as file:
            for _ in range(PROBE_BYTES // len(block)):
                file.write(block)
            os.fsync(file.fileno())
        seconds = time.perf_counter() - started
        skew = probe.stat().st_mtime - time.time()
    except OSError as error:
        return [Check("disk writes", "fail", f"{folder}: {error.strerror}: set run_dir elsewhere")]
    finally:
        probe.unlink(missing_ok=True)
    return [check_speed(PROBE_BYTES / seconds), check_clock(skew)]


def check_speed(speed: float) -> Check:
    """How fast checkpoints can be written, in bytes/s."""
    text = f"{speed / 1e6:,.0f} MB/s, flushed"
    if speed < SLOW_DISK:
        return Check("disk writes", "warn", f"{text}: save less often, or to a faster disk")
    return Check("disk writes", "ok", text)


def check_clock(skew: float) -> Check:
    """`skew`: the file system's clock minus this host's, in seconds."""
    if not time.get_clock_info("monotonic").monotonic:
        return Check("clock", "fail", "no monotonic clock: time limits cannot be kept")
    if abs(skew) > SKEW_SECONDS:
        cure = "synchronise both (NTP), or logs and locks will contradict each other"
        return Check("clock", "warn", f"the file system is {skew:+.1f} s off this host: {cure}")
    return Check("clock", "ok", f"file system within {SKEW_SECONDS:g} s of this host")


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that is there."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
