"""What is told of a machine, with stand-ins for a GPU and nvidia-smi."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from launch.selfchecks import machine
from launch.selfchecks.bench import Bench

SMI = """#!/bin/sh
case $1 in
  --query-gpu=*) echo "NVIDIA H100, 570.1, 1980 MHz" ;;
  *) [ -z "$BROKEN" ] || exit 9; printf '\\tGPU0\\nGPU0\\t X\\n' ;;
esac
"""


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, 60.0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_right_products_pass(bench, precision):
    assert machine.product(bench, precision).state == "ok"


def test_fp32_with_fewer_digits_fails(bench, monkeypatch):
    """As TF32 would."""
    monkeypatch.setattr(machine, "DTYPES", {"fp32": torch.bfloat16})
    assert machine.product(bench, "fp32").state == "FAILED"


@pytest.mark.parametrize("broken", ["", "yes"])
def test_what_nvidia_smi_says_is_told(broken, tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("BROKEN", broken)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    clocks, links = machine.nvidia()
    assert clocks.text == "NVIDIA H100, 570.1, 1980 MHz"
    assert links.state == ("skipped" if broken else "ok")
    assert broken or links.text == "GPU0; GPU0 X"


def test_every_gpu_is_told(bench, monkeypatch):
    card = SimpleNamespace(name="NVIDIA H100", major=9, minor=0, multi_processor_count=132)
    answers = {
        "device_count": 2,
        "get_device_properties": card,
        "mem_get_info": (10**9, 8 * 10**10),
    }
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    found = {finding.check: finding.text for finding in machine.devices(bench)}
    assert found["GPU 1"] == "NVIDIA H100, capability 9.0, 132 SMs, 1.0 of 80.0 GB free"


def test_no_product_is_faster_than_the_peak(bench, monkeypatch):
    monkeypatch.setattr(machine, "matmul_peak", lambda *_: 1e9)
    monkeypatch.setattr(machine, "rate", lambda *shape: 1e6 * shape[-1])
    peak, *shapes = machine.speeds(bench, "fp32")
    assert peak.values["flops"] == 1e6 * machine.VOCABULARY
    assert max(finding.values["share"] for finding in shapes) == 1.0
