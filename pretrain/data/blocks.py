"""The sha256 of files block by block, so that a part of a large one is verified on its own.

A block has 1 MiB: 300 GB of tokens have 10 MB of hashes, to verify the one sequence that a step
takes of a block reads no more than 1 MiB, and to hash it takes a millisecond. The hashes of a shard
lie beside it (`00000.blocks`: 32 bytes a block, those of the tokens, then of sentence and document
ends), so that the manifest stays small and pieces are joined without reading any of them. The
manifest has the hash of that file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

BLOCK_BYTES = 1 << 20
DIGEST_BYTES = hashlib.sha256().digest_size
PARTS = ("tokens", "sentence_ends", "document_ends")
"""of a shard, in the order of their hashes"""
Entry = dict[str, Any]
"""a part of the manifest, as JSON"""


class BlockHasher:
    """The hash of a file and those of its blocks, while it is written."""

    def __init__(self) -> None:
        self.size, self.block_bytes = 0, BLOCK_BYTES
        self._whole, self._block = hashlib.sha256(), hashlib.sha256()
        self._ended: list[bytes] = []

    def update(self, data: bytes) -> None:
        """The next bytes of the file, as many as there are."""
        self._whole.update(data)
        view = memoryview(data)  # cutting it copies nothing
        while len(view):
            # Up to the end of the block that is open: `data` may end in it, or go beyond it.
            room = self.block_bytes - self.size % self.block_bytes
            self._block.update(view[:room])
            self.size += len(view[:room])
            if not self.size % self.block_bytes:
                self._ended.append(self._block.digest())
                self._block = hashlib.sha256()
            view = view[room:]

    @property
    def entry(self) -> Entry:
        """The file's part of a manifest."""
        return {"bytes": self.size, "sha256": self._whole.hexdigest()}

    @property
    def digests(self) -> bytes:
        """The hashes of all blocks, end to end."""
        rest = [self._block.digest()] if self.size % self.block_bytes else []
        return b"".join([*self._ended, *rest])


@dataclass(frozen=True)
class Blocks:
    """How a file is cut, and what each block must hash to."""

    size: int
    """bytes of the whole file"""
    block_bytes: int
    digests: bytes

    def __len__(self) -> int:
        return count_blocks(self.size, self.block_bytes)

    def digest(self, number: int) -> bytes:
        """The hash of a block."""
        return self.digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]

    def place(self, number: int) -> tuple[int, int]:
        """(first byte, bytes) of a block."""
        start = number * self.block_bytes
        return start, min(self.block_bytes, self.size - start)

    @classmethod
    def whole(cls, entry: Entry) -> Blocks:
        """A file that is one block: a small one, or of a store from before there were blocks."""
        return cls(entry["bytes"], entry["bytes"], bytes.fromhex(entry["sha256"]))


def count_blocks(size: int, block_bytes: int) -> int:
    """Blocks of a file of `size` bytes, the last of which may be shorter."""
    return -(-size // block_bytes)


def block_bytes_of(shard: Entry, part: str) -> int:
    """Of a file of a shard; the whole file where the manifest has no blocks."""
    blocks = shard.get("blocks")
    return int(blocks["block_bytes"] if blocks else shard["files"][part]["bytes"])


def blocks_of(shard: Entry, content: bytes) -> dict[str, Blocks]:
    """The blocks of a shard's files, by part, from what its `.blocks` file holds."""
    block_bytes, by_part, start = shard["blocks"]["block_bytes"], {}, 0
    for part in PARTS:
        size = shard["files"][part]["bytes"]
        end = start + DIGEST_BYTES * count_blocks(size, block_bytes)
        by_part[part] = Blocks(size, block_bytes, content[start:end])
        start = end
    return by_part


def digest_bytes(sizes: Iterable[int], block_bytes: int) -> int:
    """Bytes of the hashes of files of these sizes."""
    return DIGEST_BYTES * sum(count_blocks(size, block_bytes) for size in sizes)
