"""The matmul peak of a machine: the highest that was seen, so that no share is above 100 %."""

from __future__ import annotations

import json

import pytest
import torch

from pretrain.engine import machine
from pretrain.engine.machine import Peak, Remembered, processor, threads

CPU = torch.device("cpu")


@pytest.fixture
def measured(monkeypatch):
    """Sets what one measurement after the other finds; returns those that are left."""

    def build(*values: float) -> list[float]:
        left = list(values)
        monkeypatch.setattr(machine, "matmul_peak", lambda device, name: left.pop(0))
        return left

    return build


def test_the_highest_peak_is_kept_and_remembered(measured, tmp_path):
    measured(5e9, 3e9, 8e9)
    memory = Remembered(CPU, tmp_path)
    assert [Peak(CPU, "fp32", memory).flops for _ in range(3)] == [5e9, 5e9, 8e9]
    assert json.loads(memory.path.read_text())["peaks"] == {"fp32": 8e9}
    measured(1e9)
    assert Peak(CPU, "bf16", memory).flops == 1e9
    assert memory.read().peaks == {"fp32": 8e9, "bf16": 1e9}


def test_a_peak_keeps_the_chosen_precision(measured, tmp_path):
    memory = Remembered(CPU, tmp_path)
    memory.write(machine.Known("bf16", 3.0, "today"))
    measured(5e9)
    Peak(CPU, "bf16", memory)
    assert memory.read() == machine.Known("bf16", 3.0, "today", {"bf16": 5e9})


def test_a_share_above_one_measures_the_peak_again(measured, tmp_path, console):
    left = measured(2e9, 8e9)
    peak = Peak(CPU, "fp32", Remembered(CPU, tmp_path))
    assert peak.share(1e9) == 0.5 and left == [8e9]
    assert peak.share(6e9) == 0.75 and not left
    assert peak.share(4e9) == 0.5
    assert "peak, 0.00 TFLOP/s, was measured under load: it is 0.01" in console.readouterr().err
    assert Remembered(CPU, tmp_path).read().peaks == {"fp32": 8e9}


def test_no_share_is_above_one_where_the_load_stays(measured):
    measured(2e9, 3e9)
    peak = Peak(CPU, "fp32")
    assert peak.share(6e9) == 1.0
    assert peak.share(3e9) == 0.5


def test_the_processor_tells_its_name_and_instructions(tmp_path):
    path = tmp_path / "cpuinfo"
    names = []
    for flags in ("avx2 amx_bf16", "amx_bf16 avx2", "avx2"):
        path.write_text(
            f"processor\t: 0\nmodel name\t: Fast 9\nflags\t\t: {flags}\n\nprocessor\t: 1\n"
        )
        names.append(processor(path))
    assert names[0]["processor"] == "Fast 9"
    assert names[0] == names[1] != names[2]
    assert set(processor(tmp_path / "none")) == {"processor", "flags"}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
