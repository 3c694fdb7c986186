"""Where sentences and documents end, as much of it as one asks for.

RoBERTa's 160 GB of text have three billion sentences, whose ends fill 24 GB: more than a node can
hold once for each rank. They stay on the disk, and are read for one portion of the documents after
the other, each small enough to be cut into samples in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from pretrain.arrays import Ints
from pretrain.data.blocks import Entry
from pretrain.data.manifest import ENDS
from pretrain.data.store_file import StoreFile

PORTION_SENTENCES = 1 << 20
"""that a portion has, about: 25 million tokens, which take 150 MB to cut. Part of every published
curve of a larger corpus, which is shuffled and paired within its portions only"""
NO_ENDS = "these are no ends"
ENDS_READ = np.dtype("<i8")
"""what ends are read as, since numpy makes floats of uint64 and int64 together"""


@dataclass(frozen=True)
class Layout:
    """Of a run of documents; places are counted from its first token and sentence on."""

    sentence_ends: Ints
    """(sentences): in tokens"""
    document_ends: Ints
    """(documents): in sentences"""
    first_token: int = 0
    """of all in the store; so are the next two"""
    first_sentence: int = 0
    first_document: int = 0

    @property
    def sentence_starts(self) -> Ints:
        """(sentences): in tokens."""
        return np.concatenate([[0], self.sentence_ends[:-1]])

    @property
    def document_starts(self) -> Ints:
        """(documents): in sentences."""
        return np.concatenate([[0], self.document_ends[:-1]])


class Ends(Protocol):
    """The ends of sentences, or of documents, of all shards: by number."""

    def __len__(self) -> int: ...

    def read(self, first: int, last: int) -> Ints:
        """Those of [first, last), counted over all shards."""


class EndsInMemory:
    """Those of a corpus that is made in memory, or a part of one."""

    def __init__(self, ends: Ints) -> None:
        self.ends = ends

    def __len__(self) -> int:
        return len(self.ends)

    def read(self, first: int, last: int) -> Ints:
        """As of any others."""
        return self.ends[first:last]


class EndsOnDisk:
    """Those of a store, in a file for each shard, which counts from the shard's beginning."""

    def __init__(self, files: Sequence[StoreFile], counted: Sequence[int]) -> None:
        """`counted` is how many tokens (or sentences) each shard has, in which its ends count."""
        self.files, self.counted = files, counted
        counts = [file.bytes // ENDS.itemsize for file in files]
        self.firsts = np.cumsum([0, *counts], dtype=np.int64)
        self.bases = np.cumsum([0, *counted], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def read(self, first: int, last: int) -> Ints:
        """As of any others; raises `DamagedStore` where they do not rise from above 0 to what their
        shard has."""
        # One array for all, each file read into its own part: joining them afterwards would hold
        # them twice.
        joined: Ints = np.empty(max(0, last - first), ENDS_READ)
        filled = 0
        while filled < len(joined):
            shard = int(np.searchsorted(self.firsts, first + filled, side="right")) - 1
            start, stop = first + filled, min(last, int(self.firsts[shard + 1]))
            ends = joined[filled : filled + stop - start]
            self._read_shard(shard, start - int(self.firsts[shard]), ends)
            ends += self.bases[shard]  # in place: a part of `joined`
            filled += len(ends)
        return joined

    def check_shards(self) -> None:
        """Raise `DamagedStore` where a shard's first end is none, or its last not the shard's."""
        for shard, file in enumerate(self.files):
            count = int(self.firsts[shard + 1] - self.firsts[shard])
            first, last = self._of_shard(shard, 0), self._of_shard(shard, count - 1)
            if not 0 < first <= last == self.counted[shard]:
                raise file.damaged(NO_ENDS)

    def _of_shard(self, shard: int, number: int) -> int:
        """One of a shard, counted from its beginning."""
        file, found = self.files[shard], np.empty(1, ENDS_READ)
        view = memoryview(found.data).cast("B")
        file.read_into(file.open(), view, number * ENDS.itemsize)
        return int(found[0])

    def _read_shard(self, shard: int, start: int, ends: Ints) -> None:
        """Fill `ends` with those of a shard from number `start` of it on."""
        file = self.files[shard]
        file.read_into(file.open(), memoryview(ends.data).cast("B"), start * ENDS.itemsize)
        before = self._of_shard(shard, start - 1) if start else 0
        if ends[0] <= before or ends[-1] > self.counted[shard] or np.any(ends[1:] <= ends[:-1]):
            raise file.damaged(NO_ENDS)


@dataclass(frozen=True)
class Layouts:
    """The layout of all documents, read part by part."""

    sentences: Ends
    documents: Ends
    shard_sizes: tuple[tuple[int, int], ...]
    """(sentences, documents) of each shard"""

    @classmethod
    def in_memory(cls, sentence_ends: Ints, document_ends: Ints) -> Layouts:
        """That of a corpus which has no files."""
        sizes = ((len(sentence_ends), len(document_ends)),)
        return cls(EndsInMemory(sentence_ends), EndsInMemory(document_ends), sizes)

    @classmethod
    def on_disk(cls, folder: Path, shards: list[Entry]) -> Layouts:
        """That of a store's shards, by their parts of the manifest; raises `DamagedStore`."""

        def ends(part: str, counted: str) -> EndsOnDisk:
            names = ((f"{s['name']}.{part}", s["files"][part]["bytes"]) for s in shards)
            files = [StoreFile.find(folder, name, size) for name, size in names]
            found = EndsOnDisk(files, [shard[counted] for shard in shards])
            found.check_shards()
            return found

        sizes = tuple((shard["sentences"], shard["documents"]) for shard in shards)
        return cls(ends("sentence_ends", "tokens"), ends("document_ends", "sentences"), sizes)

    @cached_property
    def whole(self) -> Layout:
        """That of all documents, which a large corpus has no room for."""
        return self.part(0, len(self.documents))

    def part(self, first: int, last: int) -> Layout:
        """That of the documents [first, last)."""
        # The end before the first one is where it begins.
        document_ends = self.documents.read(max(0, first - 1), last)
        first_sentence = int(document_ends[0]) if first else 0
        document_ends = document_ends[bool(first) :]
        last_sentence = int(document_ends[-1]) if len(document_ends) else first_sentence
        sentence_ends = self.sentences.read(max(0, first_sentence - 1), last_sentence)
        first_token = int(sentence_ends[0]) if first_sentence else 0
        sentence_ends = sentence_ends[bool(first_sentence) :]
        return Layout(
            sentence_ends - first_token,
            document_ends - first_sentence,
            first_token,
            first_sentence,
            first,
        )

    @property
    def portions(self) -> list[range]:
        """All documents, in portions of about `PORTION_SENTENCES` that are cut on their own.

        Shards follow one another into a portion until it is full; a shard of several portions is
        cut into equal numbers of documents. Each has two documents, for pairs to be drawn from.
        """
        ends, start, held = [0], 0, 0
        for sentences, documents in self.shard_sizes:
            parts = min(sentences // PORTION_SENTENCES, documents // 2)
            if parts > 1:
                ends += [start, *(start + documents * n // parts for n in range(1, parts))]
                held = 0
            elif held + sentences > PORTION_SENTENCES:
                ends.append(start)
                held = 0
            start += documents
            held += sentences if parts <= 1 else sentences // parts
        return _merged(ends, start)


def _merged(ends: list[int], total: int) -> list[range]:
    """Ranges between these bounds, the last of them `total`; what has fewer than two documents is
    of the one before."""
    bounds = [0]
    for end in ends:
        if end - bounds[-1] >= 2 and total - end >= 2:
            bounds.append(end)
    return [range(a, b) for a, b in zip(bounds, [*bounds[1:], total])]
