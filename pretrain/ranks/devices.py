"""Which GPU a rank takes, and by which network the ranks' hosts meet.

A launcher may show every rank all GPUs of its machine, or each rank its own alone (Slurm's
`--gpus-per-task`). LOCAL_RANK numbers the ranks of a machine either way.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from configs.errors import InputError


def device_index(local_rank: int, visible: int) -> int:
    """The GPU, among those this process sees, of a rank of this machine."""
    return local_rank % visible


def own_device(device: torch.device) -> str:
    """A name of this GPU that no other has: its machine and the identity the driver gives it."""
    return f"{socket.gethostname()} {torch.cuda.get_device_properties(device).uuid}"


def require_own_devices(devices: Sequence[str]) -> None:
    """Raise `InputError`, on all ranks alike, where two ranks of `own_device` names share a GPU."""
    first: dict[str, int] = {}
    for rank, device in enumerate(devices):
        if device in first:
            raise InputError(
                f"ranks {first[device]} and {rank} have one GPU ({device}): start as many ranks "
                "as there are GPUs (deepspeed --num_gpus, or one --gpus-per-task in a job)"
            )
        first[device] = rank


@contextmanager
def local_rank_is(index: int | None) -> Iterator[None]:
    """Within, LOCAL_RANK is the number of the rank's own GPU: DeepSpeed takes the one for the
    other. None: there is no GPU, and nothing changes."""
    before = os.environ.get("LOCAL_RANK")
    if index is not None:
        os.environ["LOCAL_RANK"] = str(index)
    try:
        yield
    finally:
        if before is not None:
            os.environ["LOCAL_RANK"] = before


def follow_nccl() -> None:
    """Let gloo, by which hosts talk, take the interface of NCCL_SOCKET_IFNAME as well.

    Only one that is named: of what remains after `^` gloo chooses better itself, by the host's
    name, than by an order in which the loopback comes first.
    """
    chosen = os.environ.get("NCCL_SOCKET_IFNAME")
    if chosen and "GLOO_SOCKET_IFNAME" not in os.environ:
        existing = [name for _, name in socket.if_nameindex()]
        if names := interfaces(chosen, existing):
            os.environ["GLOO_SOCKET_IFNAME"] = names[0]


def interfaces(chosen: str, existing: Iterable[str]) -> list[str]:
    """Those of the existing network interfaces that a value of NCCL_SOCKET_IFNAME stands for.

    Beginnings of names, with commas between: `eth,ib0`; whole names after `=`; after `^` those
    that are not to be used, which stands for none here (NCCL's documentation of environment
    variables).
    """
    if chosen.startswith("^"):
        return []
    named = [word for word in chosen.removeprefix("=").split(",") if word]
    if chosen.startswith("="):
        return [name for name in existing if name in named]
    return [name for name in existing if name.startswith(tuple(named))]
