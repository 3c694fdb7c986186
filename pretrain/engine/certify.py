"""A checkpoint certifies its data: what was used until then has been verified before it is written.

One rank of each node verifies for all of them. Damage that one rank sees is a flag, which ranks add
up at each step and before each checkpoint: they end together, in the words of the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np

from configs.errors import RunError
from pretrain.batch import MicroBatch
from pretrain.data.corpus import Corpus
from pretrain.data.store_file import DamagedStore
from pretrain.data.verification import Verification
from pretrain.ranks.agreement import by_all
from pretrain.ranks.world import World

SLICE_SECONDS = 10.0
"""between two all-reduces by which ranks learn that one has more to verify"""


class Certifier:
    """The data of a run, and whether it is what was written; all ranks call it together."""

    def __init__(self, world: World, corpus: Corpus, verification: Verification) -> None:
        self.world, self.verification = world, verification
        self.shards = [*corpus.train.shards, *corpus.heldout.shards]

    def guarded(self, steps: Iterator[list[MicroBatch]]) -> Iterator[list[MicroBatch]]:
        """The steps; one that cannot be read is empty, and the last: the ranks are to end it."""
        try:
            yield from steps
        except DamagedStore as error:
            self.verification.damage = str(error)
            yield []

    @property
    def is_damaged(self) -> bool:
        """Whether this rank has seen damage."""
        return self.verification.damage is not None

    def leave(self) -> NoReturn:
        """End the run on all ranks, once one of them is damaged."""
        found = [damage for damage in self.world.gather(self.verification.damage) if damage]
        after = "the same command then resumes from the last checkpoint"
        raise by_all(RunError(f"{found[0]}; {after}"))

    def certify(self, beat: Callable[[], None]) -> None:
        """Verify what was used and is not verified yet, on every node.

        Args:
            beat: called now and then, while it takes long.
        Raises:
            RunError: on all ranks, where a file is damaged, gone, or another than at the start.
        """
        verification = self.verification
        if verification.mode == "never":
            return
        # A file that was replaced still reads as it was through its open descriptor or mapping:
        # what is verified below would be another file than the one that was learnt from.
        verification.check_unchanged()
        if self.world.sum_on_host(not verification.is_done)[0]:
            self._share_used()
        # In slices, all ranks together: a rank that hashed for an hour by itself would leave the
        # others in a collective past `safety.hang_minutes`.
        while True:
            own = verification.catch_up(SLICE_SECONDS)
            left, damaged = self.world.sum_on_host(own, self.is_damaged)
            if damaged:
                self.leave()
            if not left:
                break
            beat()
        verification.remember()

    def _share_used(self) -> None:
        """Tell the rank that verifies for this node what its other ranks have used."""
        # Bits, for a corpus of terabytes has millions of blocks.
        own = [np.packbits(shard.used) for shard in self.shards]
        for node, used in self.world.gather((self.verification.node, own)):
            if node == self.verification.node and self.verification.works:
                sizes = (len(shard.used) for shard in self.shards)
                blocks = [np.unpackbits(u, count=n).astype(bool) for u, n in zip(used, sizes)]
                self.verification.need(self.shards, blocks)
