"""What accelerators can do: their makers' data sheets, and assumptions where those are silent.

Peaks are dense bf16 with fp32 accumulation (half of the figures "with sparsity"); TF32 has half of
that on all of them, and fp32 a peak of its own, without tensor cores. A link is what one GPU sends
to its neighbours inside a node, a network what one node sends to others, both in one
direction. Sources: NVIDIA's data sheets of each product; for the network the DGX systems of its
generation (DGX A100: 8 x 200 Gb/s; DGX H100 and H200: 8 x 400 Gb/s; DGX B200: 8 x 400 Gb/s), and
for PCIe cards two ports of 200 Gb/s.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass, replace

import torch

from configs.errors import InputError
from configs.schema import PrecisionName
from pretrain.ranks.collectives import Ring

GIGA, TERA = 10**9, 10**12
BUS_EFFICIENCY = 0.8
"""share of a link's nominal rate that NCCL's large all-reduces reach, a cautious round figure:
measure yours with benchmark.py allreduce"""
LINK_LATENCY, NETWORK_LATENCY = 3.4e-6, 14e-6
"""seconds of one ring round inside a node and between nodes: the constants of NCCL's own tuning
model for its Simple protocol (graph/tuning.cc)"""
PCIE = 32 * GIGA
"""bytes/s in one direction, of 16 lanes of its fourth generation"""
DEFAULT_MFU = 0.2
"""share of the data sheet's peak: what the BERT-base baseline of MosaicBERT (Portes et al. 2023)
comes to: 70,000 steps of 4,096 x 128 tokens in 11.5 hours on 8 A100s. Give --mfu once measured"""
CONTEXT_BYTES = 1.5 * GIGA
"""CUDA context, kernels, cuBLAS workspace and NCCL buffers of a rank, about"""
PROCESS_BYTES = 0.5 * GIGA
"""Python, torch and DeepSpeed in a rank on a CPU, about"""


@dataclass(frozen=True)
class Device:
    """What one rank computes on."""

    name: str
    memory: float
    """bytes"""
    peak: float
    """FLOP/s of large matrix products, of GPUs in the table in bf16"""
    link: float
    """bytes/s to other ranks of the node"""
    network: float
    """bytes/s of a whole node to others"""
    kind: str = "cuda"
    framework: float = CONTEXT_BYTES
    fp32_peak: float = 0.0
    """the same of exact fp32 products"""

    def in_precision(self, precision: PrecisionName) -> Device:
        """A GPU of the table, with the peak of a precision."""
        peaks = {"bf16": self.peak, "tf32": self.peak / 2, "fp32": self.fp32_peak}
        return replace(self, peak=peaks[precision])

    def ring(self, ranks: int, ranks_per_node: int) -> Ring:
        """The cost model's constants by the data sheet.

        NCCL builds as many rings as a node has network ports, so what crosses the network shares
        all of them; one hop in `ranks_per_node` does.
        """
        nodes = -(-ranks // ranks_per_node)
        if nodes == 1:
            return Ring(LINK_LATENCY, BUS_EFFICIENCY * self.link)
        crossing = nodes / ranks
        latency = crossing * NETWORK_LATENCY + (1 - crossing) * LINK_LATENCY
        return Ring(latency, BUS_EFFICIENCY * min(self.link, self.network))


def _gpu(
    name: str, memory: float, peak: float, fp32_peak: float, link: float, gigabits: float
) -> Device:
    size, sent = memory * GIGA, (link * GIGA, gigabits / 8 * GIGA)
    return Device(name, size, peak * TERA, *sent, fp32_peak=fp32_peak * TERA)


GPUS = {
    gpu.name: gpu
    for gpu in (
        _gpu("a100", 80, 312, 19.5, 300, 8 * 200),
        _gpu("a100-40gb", 40, 312, 19.5, 300, 8 * 200),
        _gpu("h100", 80, 989, 67, 450, 8 * 400),
        _gpu("h200", 141, 989, 67, 450, 8 * 400),
        _gpu("b200", 180, 2250, 75, 900, 8 * 400),
        _gpu("l40s", 48, 362, 91.6, 32, 2 * 200),
        _gpu("l4", 24, 121, 30.3, 32, 2 * 200),
    )
}


def find_gpu(name: str) -> Device:
    """The entry of the table; `InputError` names the others."""
    if name.lower() not in GPUS:
        raise InputError(f"--gpu {name}: no such entry: choose from {', '.join(GPUS)}")
    return GPUS[name.lower()]


def this_machine(peak: float, ranks: int) -> Device:
    """The accelerator here, or a rank's share of this processor.

    Args:
        peak: measured FLOP/s of one rank.
        ranks: how many share the machine.
    """
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        return Device(gpu.name, gpu.total_memory, peak, nvlink() or PCIE, 50 * GIGA)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / ranks
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    # gloo over the loopback interface: of the order measured on a small machine.
    return Device(name, memory, peak, GIGA, GIGA, "cpu", PROCESS_BYTES)


def nvlink() -> float | None:
    """Bytes/s that the GPUs of this machine send to each other; None: by PCIe, or nobody tells."""
    command = ["nvidia-smi", "nvlink", "--status"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return read_nvlink(said.stdout) if said.returncode == 0 else None


def read_nvlink(text: str) -> float | None:
    """Of what `nvidia-smi nvlink --status` says: the sum of a GPU's links, of the GPU that has
    least, as a ring is as fast as its slowest link. Links that are inactive have no figure."""
    sums: list[float] = []
    for line in text.splitlines():
        if line.startswith("GPU "):
            sums.append(0.0)
        elif sums and (found := re.match(r"\s+Link \d+: ([\d.]+) GB/s", line)):
            sums[-1] += float(found[1]) * GIGA
    return min(sums, default=0.0) or None


@dataclass(frozen=True)
class Hardware:
    """What a run will use."""

    device: Device
    ranks: int
    ranks_per_node: int
    precision: PrecisionName
    ring: Ring
    measured_ring: bool
    mfu: float

    @property
    def nodes(self) -> int:
        """How many machines hold the ranks."""
        return -(-self.ranks // self.ranks_per_node)
