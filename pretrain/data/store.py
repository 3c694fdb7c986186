"""The token store: one tokenised corpus as three arrays, for every input format.

A split (`train`, `heldout`) is a list of shards; a shard is three files of little-endian integers,
and the hashes of their blocks (`blocks.py`):

    00007/train/00000.tokens          uint16 or uint32: the ids of all sentences, end to end
    00007/train/00000.sentence_ends   uint64: where each sentence ends, counted in tokens
    00007/train/00000.document_ends   uint64: where each document ends, counted in sentences
    00007/train/00000.blocks

`00007` is a piece of the corpus (`pieces.py`), written on its own, maybe by a job of its own. The
pieces stay where they are: what makes a store of them is `manifest.json`, written last, with the
sizes and sha256 of every file. A folder without it is no store. Documents never cross shards.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from configs.errors import InputError
from configs.system.files import sha256_file
from pretrain.arrays import Ints, TokenIds
from pretrain.data.blocks import PARTS, BlockHasher, Entry, block_bytes_of
from pretrain.data.layout import Layouts
from pretrain.data.manifest import COUNTS, ENDS, SIZES, read_manifest
from pretrain.data.store_file import DamagedStore, OpenFiles, StoreFile, TokenFile, cured
from pretrain.data.store_sources import StoreSources, read_sources

SPLITS = ("train", "heldout")
CHECKED_TOKENS = 2**18
"""of each shard, whose ids are checked when it is opened"""


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The narrowest of uint16 and uint32 that holds every id."""
    return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


class SplitWriter:
    """Writes one split, shard after shard, in bounded memory."""

    def __init__(self, folder: Path, vocabulary_size: int, shard_tokens: int = 2**28) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.shard_tokens = shard_tokens
        self.dtype = token_dtype(vocabulary_size)
        self.unigram_counts = np.zeros(vocabulary_size, np.int64)
        self.text_bytes = 0
        self.shards: list[Entry] = []
        self._shard: _ShardWriter | None = None

    def add(self, sentences: list[list[int]], text_bytes: int) -> None:
        """Append one document, given as the ids of its sentences; empty sentences are dropped."""
        sentences = [s for s in sentences if s]
        if not sentences:
            return
        if self._shard is None or self._shard.tokens >= self.shard_tokens:
            self._close_shard()
            self._shard = _ShardWriter(self.folder, len(self.shards), self.dtype)
        ids: TokenIds = np.fromiter(chain.from_iterable(sentences), self.dtype)
        self._shard.add(ids, np.cumsum([len(s) for s in sentences]))
        # A histogram of the whole vocabulary for every tweet would take longer than its ids.
        np.add.at(self.unigram_counts, ids, 1)
        self.text_bytes += text_bytes

    def finish(self) -> Entry:
        """Close the files; the split's part of the manifest."""
        self._close_shard()
        return _content(self.folder, self.shards, self.text_bytes, self.unigram_counts)

    def _close_shard(self) -> None:
        if self._shard is not None:
            self.shards.append(self._shard.finish())
            self._shard = None


def join_splits(folder: Path, split: str, pieces: dict[str, Entry]) -> Entry:
    """A split's part of the manifest, from those of its pieces; no token is read or written.

    `pieces` holds the split's part of each piece, by the piece's folder in that of the store, in
    order. Raises `DamagedStore` where the counts of a piece are not what was written.
    """
    shards = [
        {**shard, "name": f"{piece}/{shard['name']}"}
        for piece, content in pieces.items()
        for shard in content["shards"]
    ]
    # Counts are added up and written anew; shards are only named: their files stay where they are.
    of_pieces = (_counts_of_piece(folder, p, split, content) for p, content in pieces.items())
    counts: Ints = reduce(np.add, of_pieces)
    text_bytes = sum(content["text_bytes"] for content in pieces.values())
    (folder / split).mkdir(exist_ok=True)
    return _content(folder / split, shards, text_bytes, counts)


def _counts_of_piece(folder: Path, piece: str, split: str, content: Entry) -> Ints:
    """Verified: their sum gets a hash of its own, which would hide damage."""
    name = f"{piece}/{split}/{COUNTS}"
    file = StoreFile.find(folder, name, content["unigram_counts"]["bytes"])
    if sha256_file(file.path) != content["unigram_counts"]["sha256"]:
        raise file.damaged("content is damaged")
    return _read_counts(file.path, folder)


def _content(folder: Path, shards: list[Entry], text_bytes: int, counts: Ints) -> Entry:
    """A split's part of the manifest; writes the counts into `folder`."""
    np.save(folder / COUNTS, counts)
    entry = {"bytes": (folder / COUNTS).stat().st_size, "sha256": sha256_file(folder / COUNTS)}
    totals = {key: sum(shard[key] for shard in shards) for key in SIZES}
    return {**totals, "text_bytes": text_bytes, "shards": shards, "unigram_counts": entry}


class _HashedFile(BlockHasher):
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file: IO[bytes] = path.open("wb")

    def write(self, array: NDArray[np.uint64] | TokenIds) -> None:
        """Append the numbers of an array."""
        data = array.tobytes()
        self.file.write(data)
        self.update(data)


class _ShardWriter:
    """Writes the files of one shard."""

    def __init__(self, folder: Path, number: int, dtype: np.dtype) -> None:
        self.name = f"{folder.name}/{number:05d}"
        self.tokens = self.sentences = self.documents = 0
        self.dtype = dtype
        self.blocks = folder / f"{number:05d}.blocks"
        self.files = {part: _HashedFile(folder / f"{number:05d}.{part}") for part in PARTS}

    def add(self, ids: TokenIds, sentence_ends: Ints) -> None:
        """Append a document; its ends are counted from its own first token."""
        self.files["tokens"].write(ids)
        self.files["sentence_ends"].write((sentence_ends + self.tokens).astype(ENDS))
        self.tokens += len(ids)
        self.sentences += len(sentence_ends)
        self.documents += 1
        self.files["document_ends"].write(np.asarray([self.sentences], ENDS))

    def finish(self) -> Entry:
        """Close the files; the shard's part of the manifest."""
        counts = {key: getattr(self, key) for key in SIZES}
        for file in self.files.values():
            file.file.close()
        files = {part: file.entry for part, file in self.files.items()}
        self.blocks.write_bytes(b"".join(file.digests for file in self.files.values()))
        blocks = {
            "block_bytes": self.files["tokens"].block_bytes,
            "bytes": self.blocks.stat().st_size,
            "sha256": sha256_file(self.blocks),
        }
        return {"name": self.name, **counts, "files": files, "blocks": blocks}


@dataclass(frozen=True)
class TokenStore:
    """One split, opened for reading. Offsets count over all shards."""

    shards: tuple[TokenFile, ...]
    """the tokens, left on the disk"""
    shard_starts: Ints
    """(shards + 1): first token of each shard, and the end"""
    layouts: Layouts
    """where sentences and documents end, left on the disk, too"""
    unigram_counts: Ints
    """(vocabulary): how often each id occurs"""
    text_bytes: int
    """UTF-8 bytes of the text behind the tokens"""
    sources: StoreSources | None = field(default=None, kw_only=True)
    """None: there is one, or it is not known which tokens are of which"""

    @classmethod
    def open(cls, folder: Path, split: str, most_tokens: int | None = None) -> TokenStore:
        """Open one split of the store in `folder`; raises `InputError` if it is not whole.

        `most_tokens` opens its first documents only, up to the one that reaches so many.
        """
        manifest = read_manifest(folder)
        content = manifest["splits"].get(split)
        if content is None:
            raise InputError(f"{folder}: the store has no split '{split}': prepare it anew")
        shards = content["shards"]
        if most_tokens is not None:
            # Up to the shard in which the last of these tokens lies: no further one is opened.
            reached = np.searchsorted(_starts(shards, "tokens")[1:], most_tokens)
            shards = shards[: reached + 1]
        try:
            sources = read_sources(manifest, split, shards)
        except ValueError as error:
            raise DamagedStore(cured(folder / "manifest.json", folder, str(error))) from error
        counts = _read_counts(folder / split / COUNTS, folder)
        dtype, open_files = np.dtype(manifest["dtype"]), OpenFiles()
        tokens = [
            TokenFile(_find(folder, s, "tokens"), dtype, block_bytes_of(s, "tokens"), open_files)
            for s in shards
        ]
        for file in tokens:
            _check_ids(file, len(counts))
        store = cls(
            shards=tuple(tokens),
            shard_starts=_starts(shards, "tokens"),
            layouts=Layouts.on_disk(folder, shards),
            unigram_counts=counts,
            text_bytes=content["text_bytes"],
            sources=sources,
        )
        return store if most_tokens is None else store._head(most_tokens)

    def _head(self, tokens: int) -> TokenStore:
        """The first documents, up to the one that reaches so many tokens."""
        sentences = np.searchsorted(self.sentence_ends, tokens) + 1
        documents = int(np.searchsorted(self.document_ends, sentences)) + 1
        head = self.layouts.part(0, min(documents, self.document_count))
        return replace(self, layouts=Layouts.in_memory(head.sentence_ends, head.document_ends))

    @property
    def sentence_ends(self) -> Ints:
        """(sentences): end of each sentence, in tokens; a large corpus has no room for all."""
        return self.layouts.whole.sentence_ends

    @property
    def document_ends(self) -> Ints:
        """(documents): end of each document, in sentences; the same holds."""
        return self.layouts.whole.document_ends

    @property
    def document_count(self) -> int:
        """Documents of all shards."""
        return len(self.layouts.documents)

    @property
    def token_count(self) -> int:
        """Tokens of all shards."""
        return int(self.shard_starts[-1])

    def sources_of(self, places: Ints) -> Ints | None:
        """Number of the source that each of some tokens is of; None where `sources` is."""
        return None if self.sources is None else self.sources.of_tokens(places)

    def gather(self, starts: Ints, ends: Ints) -> TokenIds:
        """The ids of many [start, end), none of which crosses documents, end to end; a copy."""
        # Documents never cross shards, so that each range lies in one. All ranges of a shard are
        # read together, into the places that they have in the whole.
        shard = np.searchsorted(self.shard_starts, starts, side="right") - 1
        first = self.shard_starts[shard]
        places = np.cumsum(ends - starts) - (ends - starts)
        ids = np.empty(int((ends - starts).sum()), self.shards[0].dtype)
        for number in np.unique(shard):
            own = shard == number
            spans = (starts - first)[own], (ends - first)[own]
            self.shards[number].gather(*spans, ids, places[own])
        return ids

    def tokens(self, start: int, end: int) -> TokenIds:
        """The ids of [start, end), which must not cross documents; a copy."""
        return self.gather(np.asarray([start]), np.asarray([end]))


def _find(folder: Path, shard: Entry, part: str) -> StoreFile:
    size = shard["files"][part]["bytes"]
    return StoreFile.find(folder, f"{shard['name']}.{part}", size)


def _read_counts(path: Path, store: Path) -> Ints:
    try:
        counts: Ints = np.load(path)
    except (ValueError, EOFError) as error:
        raise DamagedStore(cured(path, store, f"damaged ({error})")) from error
    if counts.ndim != 1 or counts.dtype != np.int64:
        raise DamagedStore(cured(path, store, "holds no counts"))
    return counts


def _check_ids(tokens: TokenFile, vocabulary_size: int) -> None:
    """Raise `DamagedStore` where one of the first ids is beyond the vocabulary.

    Hashes do not show it: a store of another vocabulary is whole as well.
    """
    highest = int(tokens.peek(0, CHECKED_TOKENS).max())
    if highest >= vocabulary_size:
        raise tokens.file.damaged(
            f"id {highest} is beyond the vocabulary of {vocabulary_size:,} entries"
        )


def _starts(shards: list[Entry], key: str) -> Ints:
    """Of each shard, how many tokens (or sentences) lie before it; and how many there are."""
    return np.cumsum([0] + [shard[key] for shard in shards], dtype=np.int64)
