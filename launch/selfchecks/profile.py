"""What torch's profiler tells of some steps."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.autograd import DeviceType  # type: ignore[attr-defined]  # not in its __all__
from torch.profiler import ProfilerActivity, profile

STEPS, NAMES = 2, 10


@dataclass(frozen=True)
class Profile:
    """Of a step, the mean of two."""

    busy_seconds: float
    """in which the GPU does something; 0 on a CPU"""
    count: float
    """kernels and copies on a GPU, operators on a CPU"""
    top: list[tuple[str, float]]
    """names of those that take longest, with their share of the time of all"""

    @classmethod
    def of(cls, step: Callable[[], object], wait: Callable[[], None], on_cuda: bool) -> Profile:
        """Takes the steps."""
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
        wait()
        with profile(activities=activities) as found:
            for _ in range(STEPS):
                step()
            wait()
        events = list(found.events() or [])
        if not on_cuda:
            times = {e.key: e.self_cpu_time_total for e in found.key_averages()}
            return cls(0.0, len(events) / STEPS, highest(times))
        kernels = [event for event in events if _is_kernel(event)]
        spans = [(event.time_range.start, event.time_range.end) for event in kernels]
        times = Counter[str]()
        for event, (start, end) in zip(kernels, spans):
            times[event.name] += end - start
        return cls(1e-6 * covered(spans) / STEPS, len(kernels) / STEPS, highest(times))


def _is_kernel(event: Any) -> bool:  # noqa: ANN401  # torch has no type for it
    # Annotations of the host's have a shadow among the device's events.
    is_shadow = bool(getattr(event, "is_user_annotation", False))
    return bool(event.device_type == DeviceType.CUDA) and not is_shadow


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the spans (start, end) lasts."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def highest(times: Mapping[str, float]) -> list[tuple[str, float]]:
    """The longest, with their shares."""
    total = sum(times.values()) or 1.0
    ordered = sorted(times.items(), key=lambda item: -item[1])[:NAMES]
    return [(name[:80], round(time / total, 4)) for name, time in ordered]


def allocated(work: Callable[[], object]) -> int:
    """The most bytes that some work holds at once on a CPU, beside what was there before."""
    gc.collect()  # else what others left is freed, and subtracted, meanwhile
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    held = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
