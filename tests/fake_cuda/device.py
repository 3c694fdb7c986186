"""A device that is called cuda, and computes nothing.

FakeTensorMode holds tensors that have shapes, types and a device, but no data. A CPU build of torch
refuses to differentiate them for want of a CUDA device guard, a stream and an accelerator:
`NOTHING` and `PRELOAD` supply ones that do nothing. The second must be there before torch is, so
every check is a process of its own, with LD_PRELOAD.

This finds wrong devices and types, operators that wait for the device, missing gradients, and how
many operators a step takes. It says nothing of a kernel's numbers, of speed, or of NCCL.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PRELOAD = r"""
#include <cstdint>
// The accelerator that the build was made for: std::optional<DeviceType>(CUDA).
extern "C" uint16_t _ZN2at11accelerator14getAcceleratorEb(bool) { return 0x0101; }
"""
NOTHING = r"""
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
using namespace c10;
struct Guard : impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device getDevice() const override { return Device(DeviceType::CUDA, 0); }
  Device exchangeDevice(Device) const override { return getDevice(); }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, getDevice()); }
  Stream getDefaultStream(Device) const override { return Stream(Stream::DEFAULT, getDevice()); }
  Stream exchangeStream(Stream s) const noexcept override { return s; }
  void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  DeviceIndex deviceCount() const noexcept override { return 1; }
};
struct Hooks : at::CUDAHooksInterface {
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return false; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex current_device() const override { return 0; }
  void init() const override {}
  Allocator* getPinnedMemoryAllocator() const override { return GetDefaultCPUAllocator(); }
};
static Guard guard;
static Hooks hooks;
extern "C" void pretend_cuda() {
  impl::device_guard_impl_registry[(size_t)DeviceType::CUDA].store(&guard);
  // torch took its empty hooks as it was imported: give that object these methods.
  auto& theirs = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
  *reinterpret_cast<void**>(&theirs) = *reinterpret_cast<void**>(&hooks);
}
"""
WAITS: list[str] = []
"""what made the host wait for the device, so far"""


def build(folder: Path) -> Path:
    """Both libraries, compiled into `folder`; skips the test where that cannot be."""
    if torch.version.cuda:
        pytest.skip("the device is made for a CPU build of torch")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("a C++ compiler is needed: g++")
    home = Path(torch.__file__).parent
    links = [f"-I{home}/include", f"-L{home}/lib", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{home}/lib"]
    for name, source, flags in (("preload", PRELOAD, []), ("nothing", NOTHING, links)):
        path = folder / f"{name}.cpp"
        path.write_text(source)
        command = [compiler, "-std=c++20", "-w", "-O0", "-shared", "-fPIC", str(path), *flags]
        done = subprocess.run(
            [*command, "-o", str(folder / f"{name}.so")], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"this torch's headers do not compile here: {done.stderr[-200:]}")
    return folder


def run_check(libraries: Path, name: str, *words: str) -> str:
    """What `checks.py NAME WORDS` says in a process that has the device; it must succeed."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(libraries / "preload.so"),
        "FAKE_CUDA": str(libraries / "nothing.so"),
        "PYTHONPATH": str(ROOT),
        "DS_ACCELERATOR": "cuda",
        "OMP_NUM_THREADS": "1",
        **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"},
    }
    command = [sys.executable, "-W", "ignore", "-m", "tests.fake_cuda.checks", name, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done.stdout


class Nobody:
    """A stream or an event: whatever is asked of it, nothing happens."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __getattr__(self, _: str) -> object:
        return lambda *_, **__: None


def pretend() -> None:
    """From here on this process believes in a GPU of compute capability 9."""
    import torch.cuda.nvtx
    import torch.nested._internal.sdpa as jagged
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
    from torch.nested._internal.nested_tensor import _nt_view_dummy

    _nt_view_dummy()  # before there is a mode that would make it a fake one
    ctypes.CDLL(os.environ["FAKE_CUDA"]).pretend_cuda()
    FakeTensorMode.avoid_device_init = property(lambda self: True)
    card = SimpleNamespace(name="fake", total_memory=80e9, major=9, minor=0)
    answers = {
        **{"is_available": True, "device_count": 8, "current_device": 0, "set_device": None},
        **{"is_bf16_supported": True, "manual_seed_all": None, "empty_cache": None},
        **{
            "reset_peak_memory_stats": None,
            "max_memory_allocated": 0,
            "memory_allocated": 0,
            "memory_reserved": 0,
        },
        **{"get_device_name": "fake", "get_device_capability": (9, 0)},
        **{"is_current_stream_capturing": False, "get_device_properties": card},
    }
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    torch.cuda.Stream = torch.cuda.Event = Nobody
    torch.cuda.current_stream = torch.cuda.default_stream = lambda *_: Nobody()
    torch.cuda.stream = lambda _: contextlib.nullcontext()
    torch.cuda.synchronize = lambda *_: WAITS.append("synchronize")
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    for name in ("range_push", "range_pop", "mark"):
        setattr(torch.cuda.nvtx, name, lambda *_, **__: 0)
    jagged.can_use_flash_attention = lambda *_, **__: True
    # Theirs asks for number by number, and CUDA for all of them at once.
    FakeTensor.tolist = lambda tensor: torch.Tensor.tolist(tensor.cpu())
    to = torch.nn.Module.to
    torch.nn.Module.to = lambda module, *words, **more: (
        module if is_there(module) else to(module, *words, **more)
    )


def is_there(module: torch.nn.Module) -> bool:
    """Whether a module is on the device: there it stays, as fake tensors are not moved twice."""
    return next(module.parameters()).is_cuda


def fake_tensors() -> contextlib.AbstractContextManager[object]:
    """What is made within has no data."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    return FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
