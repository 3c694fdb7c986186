"""What ranks say to each other: the algorithm, its cost, and how to measure it.

A ring all-reduce of n bytes over N ranks goes in 2 (N - 1) rounds, in each of which every rank
sends n / N bytes to its neighbour: first the pieces are summed, then the sums go round (Patarasuk
and Yuan 2009). Hence the cost model

    seconds = 2 (N - 1) latency + 2 (N - 1) / N x n / bandwidth

and the bus bandwidth 2 (N - 1) / N x n / seconds, which does not depend on N and compares with the
data sheet of the slowest link.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from configs.collective_schema import CollectiveConfig
from configs.errors import InputError
from configs.system.json_files import read_json
from pretrain.ranks.world import World

COMPRESSED_BYTES = {"none": 4, "bf16": 2, "fp16": 2}
MEGABYTE = 10**6


def ring_share(ranks: int) -> float:
    """2 (N - 1) / N: what a rank sends of each byte that is reduced over `ranks`."""
    return 2 * (ranks - 1) / ranks


def bus_bandwidth(size: float, seconds: float, ranks: int) -> float:
    """Bytes/s over the slowest link, for `size` bytes reduced in `seconds`."""
    return ring_share(ranks) * size / seconds


@dataclass(frozen=True)
class Ring:
    """The two constants of the cost model."""

    latency: float
    """seconds of one round, whatever it carries"""
    bandwidth: float
    """bytes/s from a rank to its neighbour"""

    def seconds(self, size: float, ranks: int, messages: int = 1) -> float:
        """Time to reduce `size` bytes, cut into `messages`, over `ranks`."""
        if ranks == 1:
            return 0.0
        # Each message goes round by itself and pays the latency again; bytes cost the same however
        # they are cut. This is what a larger bucket saves.
        rounds = 2 * (ranks - 1) * messages
        return rounds * self.latency + ring_share(ranks) * size / self.bandwidth

    @classmethod
    def fit(cls, sizes: Sequence[float], seconds: Sequence[float], ranks: int) -> Ring:
        """Latency and bandwidth that fit measurements best, by least squares of relative errors.

        Sizes span many powers of two: absolute errors would leave the latency to chance. Where the
        best line has a negative constant, the one it cannot have is 0.
        """
        times = np.asarray(seconds, float)
        rounds = np.full(len(times), 2.0 * (ranks - 1))
        sent = ring_share(ranks) * np.asarray(sizes, float)
        # Both sides divided by the measured time: what is left over then is a relative error.
        columns = np.stack([rounds, sent], axis=1) / times[:, None]
        latency, per_byte = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)[0]
        if latency < 0:
            latency, per_byte = 0.0, _through_origin(columns[:, 1])
        elif per_byte <= 0:
            latency, per_byte = _through_origin(columns[:, 0]), 1e-15
        return cls(float(latency), float(1 / per_byte))


def _through_origin(column: np.ndarray) -> float:
    """The factor that brings `column` closest to ones."""
    return float(column.sum() / (column**2).sum())


@dataclass(frozen=True)
class Traffic:
    """What a rank's optimizer step sends."""

    gradient_bytes: int
    """reduced over all ranks, all its reductions together"""
    weight_bytes: int
    """updated weights, gathered from all ranks (ZeRO 1 and 2)"""
    messages: int
    """pieces that gradients are cut into"""
    last_bytes: int
    """of the last piece: the backward pass is over by then, and hides none of it"""

    @classmethod
    def of(
        cls, sizes: Sequence[int], config: CollectiveConfig, zero_stage: int, micro_batches: int
    ) -> Traffic:
        """The traffic of a model whose parameters have these `sizes`, in elements.

        Args:
            micro_batches: of one rank: stage 2 cannot keep full gradients and reduces after each.
        """
        # Stages 0 and 1 accumulate in full gradients and reduce once, with the last micro-batch.
        reductions = micro_batches if zero_stage == 2 else 1
        elements, width = sum(sizes), COMPRESSED_BYTES[config.compression]
        # The backward pass makes gradients from the last parameter to the first.
        made = sizes[::-1]
        buckets = cut_buckets(made, bucket_elements(config))
        return cls(
            elements * width * reductions,
            4 * elements if zero_stage else 0,
            len(buckets) * reductions,
            sum(made[place] for place in buckets[-1]) * width,
        )

    def bytes_sent(self, ranks: int) -> float:
        """Bytes that each rank sends in a step."""
        return ring_share(ranks) * (self.gradient_bytes + self.weight_bytes / 2)

    def seconds(self, ring: Ring, ranks: int) -> tuple[float, float]:
        """Time of a step's communication by the cost model: to reduce gradients, to gather weights.

        Gathering is the second half of a reduction.
        """
        reduced = ring.seconds(self.gradient_bytes, ranks, self.messages)
        return reduced, ring.seconds(self.weight_bytes, ranks, self.weight_bytes > 0) / 2

    def exposed_seconds(self, ring: Ring, ranks: int, hidden: float = 0.0) -> float:
        """What of `seconds` ranks wait for, where reducing has `hidden` seconds of computation
        beside it."""
        reducing, gathering = self.seconds(ring, ranks)
        last = ring.seconds(self.last_bytes, ranks)
        return max(last if hidden else 0.0, reducing - hidden) + gathering


def bucket_elements(config: CollectiveConfig) -> int:
    """`bucket_megabytes` in gradient elements, which are fp32 until they travel."""
    return max(1, int(config.bucket_megabytes * MEGABYTE / 4))


def cut_buckets(sizes: Sequence[int], limit: int) -> list[list[int]]:
    """Places of the tensors of these sizes that travel together: a bucket takes no further one once
    it is past `limit` elements."""
    buckets: list[list[int]] = []
    held = limit + 1
    for place, size in enumerate(sizes):
        if held > limit:
            buckets.append([])
            held = 0
        buckets[-1].append(place)
        held += size
    return buckets


def describe_collectives(
    config: CollectiveConfig, zero_stage: int, world: World, traffic: Traffic
) -> str:
    """One line: what is used, and what it costs each rank."""
    if world.size == 1:
        return "one rank: nothing to reduce"
    when = "during" if config.overlaps(zero_stage) else "after"
    sent = traffic.bytes_sent(world.size) / MEGABYTE
    compression = "fp32" if config.compression == "none" else config.compression
    return (
        f"{dist.get_backend()}, {used_algorithm()}, {compression} gradients in buckets of "
        f"{config.bucket_megabytes:g} MB ({traffic.messages} a step), reduced {when} the backward "
        f"pass, {sent:,.1f} MB sent per rank and step"
    )


def used_algorithm() -> str:
    """The all-reduce algorithm of the present process group, in words."""
    if dist.get_backend() != "nccl":
        # Gloo's ring: reduce-scatter, then all-gather, in segments; torch asks for no other.
        return "ring (the only one it has)"
    return f"NCCL_ALGO={os.environ.get('NCCL_ALGO', 'unset: NCCL decides by size')}"


def measure(world: World, size: int, seconds: float = 0.5) -> float:
    """Median time, in seconds, of an all-reduce of `size` bytes of float32 on all ranks.

    Repeats for about `seconds`, at least 5 times. Each repetition counts as long as its slowest
    rank; the number on all ranks is the same.
    """
    values = torch.zeros(max(1, size // 4), device=world.device)
    # The first makes connections and buffers; rank 0 decides how many follow, or ranks with other
    # clocks would wait for each other in collectives of different numbers.
    first = max(_timed(world, values) for _ in range(2))
    repeats = world.from_main(max(5, min(1000, int(seconds / max(first, 1e-6)))))
    times = torch.tensor([_timed(world, values) for _ in range(repeats)], device=world.device)
    # An all-reduce is over when its last rank has it: the slowest rank's time is the collective's.
    if world.size > 1:
        dist.all_reduce(times, dist.ReduceOp.MAX)
    slowest: list[float] = times.tolist()
    return median(slowest)


def _timed(world: World, values: torch.Tensor) -> float:
    # Ranks begin together: else the time would be that of waiting for the last to come.
    world.barrier()
    started = perf_counter()
    world.sum(values)
    if values.is_cuda:
        torch.cuda.synchronize(values.device)
    return perf_counter() - started


@dataclass(frozen=True)
class Benchmark:
    """All-reduces of several sizes, and the cost model that fits them."""

    ranks: int
    backend: str
    algorithm: str
    sizes: list[int]
    """bytes"""
    seconds: list[float]
    ring: Ring

    @classmethod
    def run(cls, world: World, sizes: list[int], seconds: float) -> Benchmark:
        """Measure on all ranks, for about `seconds` each."""
        times = [measure(world, size, seconds) for size in sizes]
        ring = Ring.fit(sizes, times, world.size)
        return cls(world.size, dist.get_backend(), used_algorithm(), sizes, times, ring)

    def table(self) -> str:
        """Measured time, bus bandwidth and the model's time for each size."""
        lines = [
            f"all-reduce over {self.ranks} ranks, {self.backend}, {self.algorithm}",
            f"{'bytes':>13}{'measured ms':>14}{'bus MB/s':>11}{'model ms':>11}{'ratio':>8}",
        ]
        for size, time in zip(self.sizes, self.seconds):
            model = self.ring.seconds(size, self.ranks)
            bus = bus_bandwidth(size, time, self.ranks) / MEGABYTE
            lines.append(
                f"{size:>13,}{1e3 * time:>14.3f}{bus:>11,.1f}{1e3 * model:>11.3f}"
                f"{time / model:>8.2f}"
            )
        lines.append(
            f"model: 2 (N-1) x {1e6 * self.ring.latency:,.1f} us + 2 (N-1)/N x bytes / "
            f"{self.ring.bandwidth / MEGABYTE:,.0f} MB/s"
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For a file that `read_ring` reads."""
        return asdict(self)


def read_ring(path: Path) -> Ring:
    """The cost model in a file of `benchmark.py allreduce --json`."""
    try:
        ring = read_json(path)["ring"]
        ring = Ring(float(ring["latency"]), float(ring["bandwidth"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--allreduce {path}: {type(error).__name__}: {error}: give a file that "
            "benchmark.py allreduce --json wrote"
        ) from error
    if not (ring.latency >= 0 and 0 < ring.bandwidth < float("inf")):
        raise InputError(f"--allreduce {path}: latency or bandwidth cannot be: measure anew")
    return ring
