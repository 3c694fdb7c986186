"""Is what a run reads what was written? The blocks of a store against their hashes.

A start on terabytes must not wait for all of them: what is small is verified at once, the rest in
the background, and before a checkpoint is written whatever was used until then. What a node has
verified it remembers, file by file, for as long as the file stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np

from configs.schema import DataConfig
from configs.system.file_hashes import SETTLED_SECONDS, FileState, file_state
from configs.system.files import write_text
from configs.system.json_files import recall_json
from configs.system.notes import optional
from pretrain.arrays import Flags
from pretrain.data.blocks import DIGEST_BYTES, Blocks, Entry, blocks_of
from pretrain.data.manifest import COUNTS, fingerprint, read_manifest
from pretrain.data.store_file import DamagedStore, Descriptor, StoreFile, TokenFile

VerifyMode = Literal["once", "always", "never"]
AT_ONCE = 1 << 28
"""bytes that are verified before a run begins, the smallest files first"""
READ_BYTES = 1 << 20
NICEST = 19
WORKERS = min(8, os.cpu_count() or 1)


@dataclass(eq=False)
class CheckedFile:
    """A file of a store, its hashes, and how far it was verified."""

    name: str
    file: StoreFile
    blocks: Blocks
    needed: Flags
    """(blocks): what the run relies on"""
    state: FileState
    """what the file was before it was read, the time of change included"""
    verified: Flags = field(init=False)
    """(blocks)"""

    def __post_init__(self) -> None:
        self.verified = np.zeros(len(self.blocks), bool)

    @property
    def verified_bytes(self) -> int:
        """Bytes of the blocks that were verified."""
        if self.verified.all():
            return self.blocks.size
        return sum(self.blocks.place(number)[1] for number in places(self.verified))

    def verify(self, number: int, descriptor: Descriptor | None = None) -> None:
        """Hash a block; raises `DamagedStore` where it is not what was written."""
        descriptor = descriptor or self.file.open()
        start, size = self.blocks.place(number)
        # Of an older store a block may be a whole file: it is read and hashed by parts.
        hasher, buffer = hashlib.sha256(), memoryview(bytearray(min(size, READ_BYTES)))
        for place in range(start, start + size, READ_BYTES):
            part = buffer[: start + size - place]
            self.file.read_into(descriptor, part, place)
            hasher.update(part)
        if hasher.digest() != self.blocks.digest(number):
            raise self.file.damaged(
                f"content is damaged (block {number + 1:,} of {len(self.blocks):,}, "
                f"{size:,} bytes from byte {start:,} on)"
            )
        self.verified[number] = True


class Verification:
    """What of a store was verified in this process, and what is still to be."""

    def __init__(
        self,
        folder: Path,
        data: DataConfig,
        mode: VerifyMode | None = None,
        leads: bool = True,
        keeps: bool = True,
    ) -> None:
        """Of the store in `folder`; nothing is verified yet.

        Args:
            mode: in place of the configuration's.
            leads: of the ranks of a node one verifies for all.
            keeps: what was verified is remembered; else nothing is written.
        Raises:
            InputError: the store is not whole.
        """
        self.folder, self.mode = folder, mode or data.verify
        self.leads, self.keeps = leads, keeps
        self.node = platform.node()
        self.damage: str | None = None
        """the first damage, in words"""
        self.remembered_bytes = self.at_start_bytes = 0
        self.files: list[CheckedFile] = []
        if self.works:
            manifest = read_manifest(folder)
            self.files = list(_checked_files(folder, manifest["splits"]))
            cache = Path(data.cache).expanduser()
            self._memory = VerifiedFiles(cache, folder, fingerprint(manifest), self.node)
        self._over = threading.Event()

    @property
    def works(self) -> bool:
        """Whether this process verifies anything."""
        return self.leads and self.mode != "never"

    def begin(self) -> None:
        """Recall what is known and verify what is small; raises `DamagedStore`."""
        if self.works and self.mode == "once":
            self.remembered_bytes = self._memory.recall(self.files)
        # Sentence ends, document ends and counts are small and decide every sample: they come
        # first, and a store of a few hundred megabytes is verified whole.
        unfinished = self._open_files()
        held = accumulate(checked.blocks.size for checked in unfinished)
        small = [checked for checked, size in zip(unfinished, held) if size <= AT_ONCE]
        self._verify([(c, n) for c in small for n in range(len(c.blocks))])
        self.at_start_bytes = self.verified_bytes - self.remembered_bytes
        self.remember()

    def verify_all(self) -> None:
        """All that is not verified yet; raises `DamagedStore`."""
        self._verify([(c, n) for c in self._open_files() for n in places(~c.verified)])
        self.remember()

    def continue_in_background(self) -> None:
        """Verify the rest in a thread that leaves the run its time."""
        if self.works and not self.is_done:
            threading.Thread(target=self._work, name="verification", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._over.set()

    @property
    def is_done(self) -> bool:
        """Whether all files are verified to their end."""
        return all(checked.verified.all() for checked in self.files)

    def need(self, shards: Iterable[TokenFile], used: Iterable[np.ndarray]) -> None:
        """Rely on blocks of token files that were used, here or by other ranks of this node."""
        by_path = {checked.file.path: checked for checked in self.files}
        for shard, blocks in zip(shards, used):
            checked = by_path[shard.file.path]
            checked.needed |= blocks
            # The file that was read may have been replaced before it was verified, or after.
            if checked.file.state != shard.file.state:
                self.damage = self.damage or str(shard.file.changed())

    def catch_up(self, seconds: float) -> int:
        """Verify what is needed, for about so long; how many blocks are left then.

        Damage is not raised, for the ranks to end together, but stands in `damage`.
        """
        # What was used, not what comes next in the file: a step reads from everywhere, and a
        # checkpoint must not wait for blocks that nothing has been learnt from.
        todo = [(c, n) for c in self.files for n in places(c.needed & ~c.verified)]
        until, done = time.monotonic() + seconds, 0
        try:
            while done < len(todo) and time.monotonic() < until:
                self._verify(todo[done : done + 4 * WORKERS])
                done += 4 * WORKERS
        except DamagedStore as error:
            self.damage = self.damage or str(error)
        return max(0, len(todo) - done)

    def check_unchanged(self) -> None:
        """Note in `damage` a file that is gone, or not the one that was opened."""
        try:
            for checked in self.files:
                checked.file.check_unchanged()
        except DamagedStore as error:
            self.damage = self.damage or str(error)

    @property
    def verified_bytes(self) -> int:
        """Of all files."""
        return sum(checked.verified_bytes for checked in self.files)

    def facts(self) -> dict[str, object]:
        """For environment.json, when the run begins."""
        total = sum(checked.blocks.size for checked in self.files)
        return {
            "mode": self.mode,
            "bytes": total,
            "verified_at_start": self.at_start_bytes,
            "verified_by_earlier_starts": self.remembered_bytes,
            "left_to_the_background": total - self.at_start_bytes - self.remembered_bytes,
        }

    def remember(self) -> None:
        """Keep for later starts which files were verified to their end."""
        if self.works and self.keeps and self.damage is None:
            self._memory.keep(self.files)

    def _open_files(self) -> list[CheckedFile]:
        """Those that are not verified to their end, the smallest first."""
        unfinished = [checked for checked in self.files if not checked.verified.all()]
        return sorted(unfinished, key=lambda checked: checked.blocks.size)

    def _verify(self, todo: list[tuple[CheckedFile, int]]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            # `list` waits for all, and raises here what a thread has raised.
            list(pool.map(lambda block: self._verify_block(*block), todo))

    def _verify_block(
        self, checked: CheckedFile, number: int, descriptor: Descriptor | None = None
    ) -> None:
        try:
            checked.verify(number, descriptor)
        except DamagedStore:
            self._memory.forget()  # what is remembered of this disk may be wrong as well
            raise

    def _work(self) -> None:
        """All that is left, in half of the time and behind whatever else wants the processor."""
        if sys.platform == "linux":  # where a thread has a niceness of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICEST)
        try:
            for checked in self._open_files():
                descriptor = checked.file.open()
                for number in places(~checked.verified):
                    started = time.monotonic()
                    self._verify_block(checked, number, descriptor)
                    # It waits as long as the block took: half of the time is the run's.
                    if self._over.wait(time.monotonic() - started):
                        return
        except DamagedStore as error:
            self.damage = self.damage or str(error)
        self.remember()


class VerifiedFiles:
    """Which files of a store this node has verified, kept in `data.cache`."""

    def __init__(self, cache: Path, store: Path, content: str, node: str) -> None:
        """`content` is the store's fingerprint: other hashes are another store."""
        self.identity = {"node": node, "store": str(store.resolve()), "corpus": content}
        name = hashlib.sha256(json.dumps(self.identity).encode()).hexdigest()[:16]
        self.path = cache / "verified" / f"{name}.json"

    def recall(self, files: Iterable[CheckedFile]) -> int:
        """Note those files as verified that are as they were; how many bytes they have."""
        # The time of change is of the inode, and no program can set it back: a file with the same
        # one was not written to, whatever its time of modification says.
        known, remembered = self._read(), 0
        for checked in files:
            if known.get(checked.name) == checked.state:
                checked.verified[:] = True
                remembered += checked.blocks.size
        return remembered

    def keep(self, files: Iterable[CheckedFile]) -> None:
        """Those that were verified to their end and had settled; a full or closed cache keeps
        none, and the next start verifies again."""
        # Clocks of file systems are coarse: a write right after the hash could leave the same time.
        settled = (time.time() - SETTLED_SECONDS) * 1e9
        states = {
            checked.name: checked.state
            for checked in files
            if checked.verified.all()
            and max(checked.state["modified"], checked.state["changed"]) < settled
        }
        if not states or self._read() == states:
            return
        with optional(f"{self.path}, which remembers what was verified,"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps({**self.identity, "files": states}))

    def forget(self) -> None:
        """A disk may lose bits of a file that nobody wrote to."""
        with suppress(OSError):  # where it cannot be removed it could not be written either
            self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, FileState]:
        files = recall_json(self.path).get("files")
        return files if isinstance(files, dict) else {}


def verify(folder: Path, data: DataConfig, mode: VerifyMode | None = None) -> None:
    """All of a store, before this returns; `mode` in place of the configuration's; raises
    `DamagedStore`: naming the first file that is not what was written."""
    verification = Verification(folder, data, mode)
    verification.begin()
    verification.verify_all()


def verify_used(folder: Path, data: DataConfig, shards: Sequence[TokenFile]) -> None:
    """What was read of token files until now; raises `DamagedStore` as `verify` does."""
    verification = Verification(folder, data)
    verification.begin()
    if verification.works:
        verification.need(shards, [shard.used for shard in shards])
        verification.catch_up(float("inf"))
    if verification.damage:
        raise DamagedStore(verification.damage)


def places(flags: Flags) -> list[int]:
    """Where flags are set."""
    numbers: list[int] = np.flatnonzero(flags).tolist()
    return numbers


def _checked_files(folder: Path, splits: dict[str, Entry]) -> Iterator[CheckedFile]:
    for split, content in splits.items():
        yield _checked(folder, f"{split}/{COUNTS}", Blocks.whole(content["unigram_counts"]))
        for shard in content["shards"]:
            parts = {part: Blocks.whole(entry) for part, entry in shard["files"].items()}
            if "blocks" in shard:
                hashes = _checked(folder, f"{shard['name']}.blocks", Blocks.whole(shard["blocks"]))
                yield hashes  # verified by the next line: the other files rely on it
                parts = blocks_of(shard, _read_hashes(hashes))
            for part, blocks in parts.items():
                needed = part != "tokens"
                yield _checked(folder, f"{shard['name']}.{part}", blocks, needed)


def _read_hashes(checked: CheckedFile) -> bytes:
    """The hashes of a shard's blocks, verified."""
    checked.verify(0)
    content = bytearray(checked.blocks.size)
    checked.file.read_into(checked.file.open(), memoryview(content), 0)
    return bytes(content)


def _checked(folder: Path, name: str, blocks: Blocks, needed: bool = True) -> CheckedFile:
    file = StoreFile.find(folder, name, blocks.size)
    assert len(blocks.digests) == DIGEST_BYTES * len(blocks)
    return CheckedFile(name, file, blocks, np.full(len(blocks), needed), file_state(file.path))
