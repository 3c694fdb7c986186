"""Whether all ranks hold the same tensors, bit for bit, without sending any.

A tensor's checksum adds up its 32-bit words times odd numbers that depend on their places: any one
flipped bit changes it, and so do swapped values. Sums of integers do not depend on their order, so
a device and a host, and any number of threads, find the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from configs.errors import InputError
from pretrain.ranks.agreement import Difference, Facts, by_all, find_difference
from pretrain.ranks.world import World

WIDTH, ROWS = 4096, 32
"""of a piece that is summed at a time: it fits a processor's cache"""


@torch.no_grad()
def checksums(tensors: Mapping[str, Tensor]) -> Facts:
    """A checksum of each tensor, in hexadecimal; waits for the device once."""
    sums = torch.stack([checksum(tensor) for tensor in tensors.values()]).tolist()
    return {name: f"{number % 2**64:016x}" for name, number in zip(tensors, sums)}


def find_drift(world: World, tensors: Mapping[str, Tensor]) -> Difference | None:
    """The first of these tensors that is not the same on all ranks; the same answer on all."""
    return None if world.size == 1 else find_difference(world, {"tensors": checksums(tensors)})


def require_same(world: World, tensors: Mapping[str, Tensor], what: str) -> None:
    """Raise `InputError` on all ranks where they have read other tensors; `what` was read."""
    drift = find_drift(world, tensors)
    if drift:
        raise by_all(
            InputError(
                f"ranks hold other weights of {what}: {drift}: let all ranks read one copy of it, "
                "or copy it to every node anew"
            )
        )


def checksum(tensor: Tensor) -> Tensor:
    """int64 (): the checksum of a tensor of any shape, on its device."""
    words = _words(tensor)
    row, column = _factors(words.device)
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    # A word's factor is that of its place in a row times that of its row times that of its piece:
    # all odd, so that no bit of any word is lost where sums overflow, as they may.
    for number, piece in enumerate(torch.split(words, WIDTH * ROWS)):
        whole = len(piece) // WIDTH * WIDTH
        rows = (piece[:whole].view(-1, WIDTH) * row).sum(1, dtype=torch.int64)
        rest = (piece[whole:] * row[: len(piece) - whole]).sum(dtype=torch.int64)
        sums = torch.cat([rows, rest[None]])
        total += (sums * column[: len(sums)]).sum() * (2 * number + 1)
    return total


def _words(tensor: Tensor) -> Tensor:
    """int32: the bits of a tensor; narrower numbers are widened, which keeps them apart."""
    if tensor.element_size() < 4:
        tensor = tensor.float() if tensor.is_floating_point() else tensor.int()
    return tensor.detach().contiguous().view(-1).view(torch.int32)


@cache
def _factors(device: torch.device) -> tuple[Tensor, Tensor]:
    """Odd numbers for places in a row (int32) and for rows (int64)."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(2**30, (WIDTH,), generator=generator) * 2 + 1
    column = torch.randint(2**62, (ROWS + 1,), generator=generator) * 2 + 1
    return row.int().to(device), column.to(device)
