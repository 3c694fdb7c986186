"""What accelerators can do: their makers' data sheets, and assumptions where those are silent.

Peaks are dense bf16 with fp32 accumulation (half of the figures "with sparsity"). A link is what
one GPU sends to its neighbours inside a node, a network what one node sends to others, both in one
direction. Sources: NVIDIA's data sheets of each product; for the network the DGX systems of its
generation (DGX A100: 8 x 200 Gb/s; DGX H100 and H200: 8 x 400 Gb/s; DGX B200: 8 x 400 Gb/s), and
for PCIe cards two ports of 200 Gb/s.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

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
    """FLOP/s of large matrix products"""
    link: float
    """bytes/s to other ranks of the node"""
    network: float
    """bytes/s of a whole node to others"""
    kind: str = "cuda"
    framework: float = CONTEXT_BYTES

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


def _gpu(name: str, memory: float, peak: float, link: float, gigabits: float) -> Device:
    return Device(name, memory * GIGA, peak * TERA, link * GIGA, gigabits / 8 * GIGA)


GPUS = {
    gpu.name: gpu
    for gpu in (
        _gpu("a100", 80, 312, 300, 8 * 200),
        _gpu("a100-40gb", 40, 312, 300, 8 * 200),
        _gpu("h100", 80, 989, 450, 8 * 400),
        _gpu("h200", 141, 989, 450, 8 * 400),
        _gpu("b200", 180, 2250, 900, 8 * 400),
        _gpu("l40s", 48, 362, 32, 2 * 200),
        _gpu("l4", 24, 121, 32, 2 * 200),
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
        return Device(gpu.name, gpu.total_memory, peak, 32 * GIGA, 50 * GIGA)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / ranks
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    # gloo over the loopback interface: of the order measured on a small machine.
    return Device(name, memory, peak, GIGA, GIGA, "cpu", PROCESS_BYTES)


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
