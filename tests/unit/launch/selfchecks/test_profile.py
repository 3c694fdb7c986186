"""What is made of a profile, with a stand-in for that of a GPU."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from launch.selfchecks import profile
from launch.selfchecks.profile import Profile, allocated, covered, highest


def test_time_that_spans_share_counts_once():
    assert covered([(0, 2), (1, 3), (5, 6), (5.5, 5.8)]) == 4
    assert covered([]) == 0


def test_the_longest_come_first_with_their_shares():
    assert highest({"a": 1.0, "b": 3.0}) == [("b", 0.75), ("a", 0.25)]


def test_a_profile_names_the_work():
    a = torch.randn(300, 300)
    found = Profile.of(lambda: a @ a, lambda: None, on_cuda=False)
    assert any(name == "aten::mm" for name, _ in found.top) and found.count >= 1


def test_what_is_held_at_once_is_measured():
    assert allocated(lambda: (torch.empty(10**6), torch.empty(10**6))) == 8 * 10**6
    assert allocated(lambda: [torch.empty(10**6) is None for _ in range(3)]) == 4 * 10**6


def event(name: str, start: float, end: float, kind=DeviceType.CUDA, shadow=False):
    span = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(name=name, time_range=span, device_type=kind, is_user_annotation=shadow)


def test_a_gpu_is_busy_with_kernels_and_not_with_the_host(monkeypatch):
    events = [
        event("gemm", 0, 40),
        event("copy", 30, 60),
        event("aten::mm", 0, 500, DeviceType.CPU),
        event("step", 0, 500, shadow=True),
    ]
    found = SimpleNamespace(events=lambda: events)
    monkeypatch.setattr(profile, "profile", lambda **_: contextlib.nullcontext(found))
    taken = Profile.of(lambda: None, lambda: None, on_cuda=True)
    assert taken.busy_seconds == pytest.approx(30e-6) and taken.count == 1.0
    assert taken.top == [("gemm", 0.5714), ("copy", 0.4286)]
