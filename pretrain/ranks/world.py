"""Ranks: this process among the others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import (  # type: ignore[attr-defined]  # public, but not in __all__
    HashStore,
    PrefixStore,
    TCPStore,
)

from configs.errors import InputError
from configs.system.open_files import require_open_files
from configs.system.waiting import announced
from pretrain.ranks.devices import device_index, follow_nccl, own_device, require_own_devices
from pretrain.ranks.leaving import LEAVING
from pretrain.ranks.local import free_port
from pretrain.ranks.process import ask_for_equal_bits, use_memory_well

Value = TypeVar("Value")

PATIENCE = timedelta(days=1)
"""of a collective: ranks may wait for text to be prepared; a hang is the watchdog's to end"""
SINGLE_PROCESS = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}


@dataclass(frozen=True)
class World:
    """This process among the others."""

    rank: int
    size: int
    device: torch.device
    host_group: dist.ProcessGroup | None = None
    """the ranks by way of their hosts, where the device has a way of its own: asking there does not
    wait for the device's work; None: all ranks' common group"""

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes and speaks for all."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_on_host(self, *values: int | float) -> list[float]:
        """Each value summed over all ranks, without a word to the device."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums, group=self.host_group)
        return sums.tolist()

    def from_main(self, value: Value) -> Value:
        """Rank 0's value, on every rank; any picklable object."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, self.host_group, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value, in the order of ranks, on every rank; any picklable object."""
        values = [value]
        if self.size > 1:
            values = [value] * self.size
            dist.all_gather_object(values, value, self.host_group)
        return values

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self.size > 1:
            with announced("the other ranks"):
                dist.barrier(self.host_group)


def start(algorithm: str = "ring") -> World:
    """Join the process group that the launcher announced, or be a group of one.

    Args:
        algorithm: `collective.algorithm` of the configuration, which NCCL is told only now.
    Raises:
        InputError: a port is in use, or two ranks would have one GPU.
    """
    for name, value in SINGLE_PROCESS.items():
        os.environ.setdefault(name, value)
    local_rank = int(os.environ["LOCAL_RANK"])
    size = int(os.environ["WORLD_SIZE"])
    require_open_files(size)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cpu")
    if on_gpu:
        device = torch.device("cuda", device_index(local_rank, torch.cuda.device_count()))
        torch.cuda.set_device(device)
        follow_nccl()
        ask_for_algorithm(algorithm, torch.cuda.nccl.version())
    else:
        # Ranks that each take all cores are 2 to 6 times slower than ranks that share them.
        torch.set_num_threads(max(1, cores() // local_size()))
        ask_for_equal_bits()
        use_memory_well()
    if "MASTER_PORT" not in os.environ:
        os.environ["MASTER_PORT"] = str(free_port())
    rank = int(os.environ["RANK"])
    _meet(rank, size, "nccl" if on_gpu else "gloo")
    if not on_gpu or size == 1:
        return World(rank, size, device)
    world = World(rank, size, device, dist.new_group(backend="gloo", timeout=PATIENCE))
    require_own_devices(world.gather(own_device(device)))
    return world


def _meet(rank: int, size: int, backend: str) -> None:
    """Make the group of all ranks, and say who is missing where one does not come; raises
    `InputError`: the port at which rank 0 is to listen is in use."""
    if size == 1:  # needs no port, so that any number of runs may share a machine
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
        return
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    # torchrun serves the ranks itself, and starts them again at the same place.
    serves = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    with announced(f"rank 0 of {size} at {host}:{port}"):
        try:
            served = TCPStore(
                host, int(port), size, serves, PATIENCE, wait_for_workers=False, multi_tenant=True
            )
        except dist.DistNetworkError as error:
            if "EADDRINUSE" not in str(error):
                raise
            raise InputError(
                f"port {port} of this machine is in use, by another run perhaps: choose another, "
                f"e.g. deepspeed --master_port {free_port()} ... or MASTER_PORT={free_port()}"
            ) from error
    store = PrefixStore(f"masklab-{attempt}", served)
    store.set(f"joined-{rank}", "")
    LEAVING.join(store)

    def missing() -> str:
        # This thread's own connection.
        there = store.clone()  # type: ignore[attr-defined]  # not in torch's stubs
        late = [str(other) for other in range(size) if not there.check([f"joined-{other}"])]
        more = f" and {len(late) - 8} more" if len(late) > 8 else ""
        return f"missing: {', '.join(late[:8])}{more}" if late else ""

    with announced(f"all {size} ranks to join at {host}:{port}", missing):
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


def stop() -> None:
    """Leave the process group, all ranks together: gloo aborts where one is gone too early."""
    if dist.is_initialized():
        with announced("the other ranks to end"):
            dist.barrier()
        dist.destroy_process_group()


def ask_for_algorithm(algorithm: str, nccl: tuple[int, ...]) -> None:
    """Set NCCL_ALGO, unless the user or the site has.

    NCCL has no tree for other collectives than the all-reduce. Before 2.24 it then fell back to a
    ring by itself; since then it refuses, but takes one algorithm for each collective.
    """
    if algorithm == "auto":
        return
    tree = "allreduce:tree" if nccl >= (2, 24) else "Tree"
    os.environ.setdefault("NCCL_ALGO", tree if algorithm == "tree" else "Ring")


def local_size() -> int:
    """Ranks on this machine: torchrun and DeepSpeed's launcher each have their own name for it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)


def leads_node() -> bool:
    """Whether this is the rank that does for its machine what one of them does for all."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def cores() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
