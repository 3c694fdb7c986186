"""Gradients become averages over ranks while the backward pass still makes others (ZeRO 0).

Gradients travel in buckets. These are cut from the parameters in reverse order, about the order in
which the backward pass is done with them, and leave in that order alone: one that is full early
waits for those before it. So all ranks send the same, whichever gradient comes first on each, and a
resumed run adds up in the order of the first start. DDP learns its buckets from the first step
instead (Li et al. 2020), which no later start would repeat.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from configs.collective_schema import CollectiveConfig
from pretrain.ranks.collectives import bucket_elements, cut_buckets

DTYPES = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""in which gradients travel and are summed, by `collective.compression`"""
ALIGNED = 4
"""elements, 16 bytes: each gradient begins at a multiple, as kernels read so many at once"""


class Reducer:
    """Averages the gradients of a model over all ranks, once a step."""

    def __init__(self, parameters: Iterable[nn.Parameter], config: CollectiveConfig) -> None:
        """`parameters`: in the order of the forward pass, the same on all ranks."""
        ready, dtype = [p for p in parameters if p.requires_grad][::-1], DTYPES[config.compression]
        places = cut_buckets([p.numel() for p in ready], bucket_elements(config))
        self.buckets = [Bucket([ready[place] for place in bucket], dtype) for bucket in places]
        self._unsent: list[Bucket] = []
        self._missing: set[Tensor] = set()
        """parameters whose gradients of this step are not complete"""
        if config.overlaps(zero_stage=0):
            self._listen(ready)

    @contextmanager
    def reducing(self) -> Iterator[None]:
        """Around the backward pass of a step's last micro-batch, on all ranks; afterwards gradients
        are averages, those of zeros where no rank has one."""
        self._unsent = [*self.buckets]
        self._missing.update(p for bucket in self.buckets for p in bucket.parameters)
        yield
        self._missing.clear()
        self._send()
        for bucket in self.buckets:
            bucket.receive()

    def _send(self) -> None:
        """Send the buckets whose turn it is and whose gradients are complete."""
        while self._unsent and self._missing.isdisjoint(self._unsent[0].parameters):
            self._unsent.pop(0).send()

    def _listen(self, parameters: Iterable[nn.Parameter]) -> None:
        # Only a weak reference: torch never frees what a hook refers to, and this refers to the
        # parameters that refer to the hook.
        own = weakref.ref(self)

        def arrived(parameter: Tensor) -> None:
            reducer = own()
            if reducer is not None:
                reducer._missing.discard(parameter)
                reducer._send()

        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(arrived)


class Bucket:
    """Gradients that travel together."""

    def __init__(self, parameters: list[nn.Parameter], dtype: torch.dtype) -> None:
        self.parameters, self.dtype = parameters, dtype
        self._sizes = [-(-p.numel() // ALIGNED) * ALIGNED for p in parameters]
        self._sums = torch.empty(0)
        self._work: dist.Work | None = None

    @torch.no_grad()
    def send(self) -> None:
        """Take the gradients away and begin to add them up over ranks."""
        device = self.parameters[0].device
        # A parameter that this rank has no gradient of adds zeros: the others wait for it.
        self._sums = torch.zeros(sum(self._sizes), dtype=self.dtype, device=device)
        pieces = zip(self._pieces(self._sums), self.parameters)
        found = [(piece, p.grad) for piece, p in pieces if p.grad is not None]
        if found:
            into, gradients = map(list, zip(*found))
            torch._foreach_copy_(into, gradients)
        for parameter in self.parameters:
            parameter.grad = None
        self._work = dist.all_reduce(self._sums, async_op=True)

    @torch.no_grad()
    def receive(self) -> None:
        """Give the averages back; on a GPU its stream waits for them, and not the host."""
        assert self._work is not None, "it was sent"
        self._work.wait()
        averages = self._sums.float().mul_(1 / dist.get_world_size())
        for piece, parameter in zip(self._pieces(averages), self.parameters):
            assert parameter.grad is None, "a gradient came after its bucket had left"
            parameter.grad = piece
        self._sums, self._work = torch.empty(0), None

    def _pieces(self, flat: Tensor) -> list[Tensor]:
        """Each parameter's part of a flat tensor, in the parameter's shape."""
        parts = zip(flat.split(self._sizes), self.parameters)
        return [part[: p.numel()].view_as(p) for part, p in parts]
