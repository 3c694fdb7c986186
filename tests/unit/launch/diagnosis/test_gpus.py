"""What GPUs can do: by the table, and by what a machine says of its links."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
import torch

from launch.diagnosis import environment, gpus
from launch.diagnosis.environment import check_accelerator
from launch.diagnosis.gpus import GIGA, GPUS, PCIE, find_gpu, nvlink, read_nvlink, this_machine


def status(*gpus: list[str]) -> str:
    """What `nvidia-smi nvlink --status` says; a link's text is what follows its number."""
    lines = []
    for number, links in enumerate(gpus):
        lines.append(f"GPU {number}: NVIDIA A100-SXM4-80GB (UUID: GPU-ff8a40d4-abc6-08d1-f939)")
        lines += [f"\t Link {place}: {link}" for place, link in enumerate(links)]
    return "\n".join(lines) + "\n"


A100, H100 = status(*[["25 GB/s"] * 12] * 8), status(*[["26.562 GB/s"] * 18] * 8)
PAIR = status(["<inactive>", "25 GB/s", "25 GB/s"], ["25 GB/s", "<inactive>", "<inactive>"])


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        (A100, 300),
        (H100, 478.116),
        (PAIR, 25),  # a ring is as fast as its slowest link
        (status(["25 GB/s"], []), None),  # one of the GPUs has none
        (status([], []), None),
        (status(["<inactive>"], ["<inactive>"]), None),
        ("NVML: Unable to retrieve NVLink information as all links are inActive\n", None),
        ("", None),
    ],
)
def test_links_are_added_up_for_each_gpu(text, speed):
    assert read_nvlink(text) == (speed and pytest.approx(speed * GIGA))


def test_a_machine_that_does_not_tell_has_no_links(monkeypatch):
    def run(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(returncode=answer, stdout=A100)

    monkeypatch.setattr(subprocess, "run", run)
    answer = 0
    assert nvlink() == 300 * GIGA
    answer = 9
    assert nvlink() is None
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    assert nvlink() is None


@pytest.mark.parametrize(
    ("speed", "said", "link"),
    [(300 * GIGA, "NVLink 300 GB/s", 300 * GIGA), (None, "no NVLink: PCIe", PCIE)],
)
def test_doctor_knows_the_links_of_this_machine(monkeypatch, speed, said, link):
    device = SimpleNamespace(name="NVIDIA A100", total_memory=80 * GIGA)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: device.name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 3))
    for module in (gpus, environment):
        monkeypatch.setattr(module, "nvlink", lambda: speed)
    assert check_accelerator().text.endswith(f"NCCL 2.27.3, {said}")
    assert this_machine(1e12, 8).link == link
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "PCIe" not in check_accelerator().text and "NVLink" not in check_accelerator().text


def test_a_peak_is_that_of_the_precision():
    h100 = find_gpu("h100")
    peaks = {name: h100.in_precision(name).peak for name in ("bf16", "tf32", "fp32")}
    assert peaks == pytest.approx({"bf16": 989e12, "tf32": 494.5e12, "fp32": 67e12})
    assert all(0 < gpu.fp32_peak < gpu.peak / 2 for gpu in GPUS.values())
