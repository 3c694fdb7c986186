"""How much memory this process may use, has used and holds."""

from __future__ import annotations

from pathlib import Path

import torch

from pretrain.ranks.world import local_size


def memory_limit(device: torch.device) -> float:
    """Bytes that this rank may use: the device's, or its share of what the host has free."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    free = _proc_bytes("/proc/meminfo", "MemAvailable") / local_size()
    return free + _proc_bytes("/proc/self/status", "VmRSS")


def peak_bytes(device: torch.device) -> int:
    """The most that this process has used so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _proc_bytes("/proc/self/status", "VmHWM")


def memory_held(device: torch.device) -> dict[str, float]:
    """For a log, what this process holds now, what it keeps for later use included; empty where the
    system does not tell."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device)
    elif Path("/proc/self/status").is_file():
        held = _proc_bytes("/proc/self/status", "VmRSS")
    else:
        return {}
    return {"memory_gigabytes": held / 1e9}


def forget_peak(device: torch.device) -> None:
    """Let `peak_bytes` begin from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # Linux: resets VmHWM


def _proc_bytes(path: str, name: str) -> int:
    """A figure of Linux's /proc; 2^40 where there is none: other systems swap before they fail."""
    if not Path(path).is_file():
        return 2**40
    line = next(x for x in Path(path).read_text().splitlines() if x.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
