"""The token store: one tokenised corpus as three arrays, memory-mapped, for every input format.

A split (`train`, `heldout`) is a row of shards; a shard is three files of little-endian integers:

    00007/train/00000.tokens          uint16 or uint32: the ids of all sentences, end to end
    00007/train/00000.sentence_ends   uint64: where each sentence ends, counted in tokens
    00007/train/00000.document_ends   uint64: where each document ends, counted in sentences

`00007` is a piece of the corpus (`pieces.py`), written on its own, maybe by a job of its own. The
pieces stay where they are: what makes a store of them is `manifest.json`, written last, with the
sizes and sha256 of every file. A folder without it is no store. Documents never cross shards.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from configs.errors import InputError
from configs.files import sha256_file
from pretrain.data.manifest import COUNTS, ENDS, SIZES, read_manifest

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
        self.shards: list[dict] = []
        self._shard: _ShardWriter | None = None

    def add(self, sentences: list[list[int]], text_bytes: int) -> None:
        """Append one document, given as the ids of its sentences; empty sentences are dropped."""
        sentences = [s for s in sentences if s]
        if not sentences:
            return
        if self._shard is None or self._shard.tokens >= self.shard_tokens:
            self._close_shard()
            self._shard = _ShardWriter(self.folder, len(self.shards), self.dtype)
        ids = np.fromiter(chain.from_iterable(sentences), self.dtype)
        self._shard.add(ids, np.cumsum([len(s) for s in sentences]))
        # A histogram of the whole vocabulary for every tweet would take longer than its ids.
        np.add.at(self.unigram_counts, ids, 1)
        self.text_bytes += text_bytes

    def finish(self) -> dict:
        """Close the files; the split's part of the manifest."""
        self._close_shard()
        return _content(self.folder, self.shards, self.text_bytes, self.unigram_counts)

    def _close_shard(self) -> None:
        if self._shard is not None:
            self.shards.append(self._shard.finish())
            self._shard = None


def join_splits(folder: Path, split: str, pieces: dict[str, dict]) -> dict:
    """A split's part of the manifest, from those of its pieces; no token is read or written.

    Args:
        folder: of the store.
        pieces: the split's part of each piece, by the piece's folder, in order.
    """
    shards = [
        {**shard, "name": f"{piece}/{shard['name']}"}
        for piece, content in pieces.items()
        for shard in content["shards"]
    ]
    counts = sum(np.load(folder / piece / split / COUNTS) for piece in pieces)
    text_bytes = sum(content["text_bytes"] for content in pieces.values())
    (folder / split).mkdir(exist_ok=True)
    return _content(folder / split, shards, text_bytes, counts)


def _content(folder: Path, shards: list[dict], text_bytes: int, counts: np.ndarray) -> dict:
    """A split's part of the manifest; writes the counts into `folder`."""
    np.save(folder / COUNTS, counts)
    entry = {"bytes": (folder / COUNTS).stat().st_size, "sha256": sha256_file(folder / COUNTS)}
    totals = {key: sum(shard[key] for shard in shards) for key in SIZES}
    return {**totals, "text_bytes": text_bytes, "shards": shards, "unigram_counts": entry}


class _HashedFile:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self.file: IO[bytes] = path.open("wb")
        self.hash = hashlib.sha256()
        self.bytes = 0

    def write(self, array: np.ndarray) -> None:
        data = array.tobytes()
        self.file.write(data)
        self.hash.update(data)
        self.bytes += len(data)

    def finish(self) -> dict:
        self.file.close()
        return {"bytes": self.bytes, "sha256": self.hash.hexdigest()}


class _ShardWriter:
    def __init__(self, folder: Path, number: int, dtype: np.dtype) -> None:
        self.name = f"{folder.name}/{number:05d}"
        self.tokens = self.sentences = self.documents = 0
        self.dtype = dtype
        self.files = {
            part: _HashedFile(folder / f"{number:05d}.{part}")
            for part in ("tokens", "sentence_ends", "document_ends")
        }

    def add(self, ids: np.ndarray, sentence_ends: np.ndarray) -> None:
        self.files["tokens"].write(ids)
        self.files["sentence_ends"].write((sentence_ends + self.tokens).astype(ENDS))
        self.tokens += len(ids)
        self.sentences += len(sentence_ends)
        self.documents += 1
        self.files["document_ends"].write(np.asarray([self.sentences], ENDS))

    def finish(self) -> dict:
        counts = {key: getattr(self, key) for key in SIZES}
        files = {part: file.finish() for part, file in self.files.items()}
        return {"name": self.name, **counts, "files": files}


@dataclass(frozen=True)
class TokenStore:
    """One split, opened for reading. Offsets count over all shards."""

    shards: tuple[np.ndarray, ...]
    """memory-mapped token arrays"""
    shard_starts: np.ndarray
    """int64 (shards + 1): first token of each shard, and the end"""
    sentence_ends: np.ndarray
    """int64 (sentences): end of each sentence, in tokens"""
    document_ends: np.ndarray
    """int64 (documents): end of each document, in sentences"""
    unigram_counts: np.ndarray
    """int64 (vocabulary): how often each id occurs"""
    text_bytes: int
    """UTF-8 bytes of the text behind the tokens"""

    @classmethod
    def open(cls, folder: Path, split: str, most_tokens: int | None = None) -> TokenStore:
        """Map one split of the store in `folder`; raises `InputError` if it is not whole.

        `most_tokens` maps its first documents only, up to the one that reaches so many.
        """
        manifest = read_manifest(folder)
        content = manifest["splits"].get(split)
        if content is None:
            raise InputError(f"{folder}: the store has no split '{split}': prepare it anew")
        shards = content["shards"]
        if most_tokens is not None:
            reached = np.searchsorted(_starts(shards, "tokens")[1:], most_tokens)
            shards = shards[: reached + 1]
        counts = _read_counts(folder / split / COUNTS)
        kinds = {"tokens": np.dtype(manifest["dtype"])}
        tokens, sentence_ends, document_ends = (
            [_map(folder, shard, part, kinds.get(part, ENDS)) for shard in shards]
            for part in ("tokens", "sentence_ends", "document_ends")
        )
        for shard, *arrays in zip(shards, tokens, sentence_ends, document_ends):
            _check_arrays(folder / shard["name"], shard, *arrays, len(counts))
        token_starts = _starts(shards, "tokens")
        store = cls(
            shards=tuple(tokens),
            shard_starts=token_starts,
            sentence_ends=_join(sentence_ends, token_starts),
            document_ends=_join(document_ends, _starts(shards, "sentences")),
            unigram_counts=counts,
            text_bytes=content["text_bytes"],
        )
        return store if most_tokens is None else store._head(most_tokens)

    def _head(self, tokens: int) -> TokenStore:
        sentences = np.searchsorted(self.sentence_ends, tokens) + 1
        documents = np.searchsorted(self.document_ends, sentences) + 1
        document_ends = self.document_ends[:documents]
        sentence_ends = (
            self.sentence_ends[: document_ends[-1]] if len(document_ends) else document_ends
        )
        return replace(self, document_ends=document_ends, sentence_ends=sentence_ends)

    @property
    def token_count(self) -> int:
        return int(self.shard_starts[-1])

    @property
    def sentence_starts(self) -> np.ndarray:
        """int64 (sentences): first token of each sentence."""
        return np.concatenate([[0], self.sentence_ends[:-1]])

    def gather(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The ids of many [start, end), none of which crosses documents, end to end; a copy."""
        shard = np.searchsorted(self.shard_starts, starts, side="right") - 1
        first, numbers = self.shard_starts[shard], np.unique(shard)
        places = ranges(starts - first, ends - first)
        if len(numbers) == 1:
            return np.asarray(self.shards[numbers[0]])[places]
        owner = np.repeat(shard, ends - starts)
        ids = np.empty(len(places), self.shards[0].dtype)
        for number in numbers:
            ids[owner == number] = np.asarray(self.shards[number])[places[owner == number]]
        return ids

    def tokens(self, start: int, end: int) -> np.ndarray:
        """The ids of [start, end), which must not cross documents; a view of the mapping."""
        shard = np.searchsorted(self.shard_starts, start, side="right") - 1
        first = self.shard_starts[shard]
        return self.shards[shard][start - first : end - first]


def ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All range(start, end), end to end; int64."""
    lengths = ends - starts
    shift = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.arange(lengths.sum()) + shift


def _map(folder: Path, shard: dict, part: str, dtype: np.dtype) -> np.ndarray:
    return np.memmap(folder / f"{shard['name']}.{part}", dtype, mode="r")


def _read_counts(path: Path) -> np.ndarray:
    try:
        counts = np.load(path)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: damaged ({error}): prepare the store anew") from error
    if counts.ndim != 1 or counts.dtype != np.int64:
        raise InputError(f"{path}: holds no counts: prepare the store anew")
    return counts


def _check_arrays(
    place: Path,
    shard: dict,
    tokens: np.ndarray,
    sentence_ends: np.ndarray,
    document_ends: np.ndarray,
    vocabulary_size: int,
) -> None:
    """Raise `InputError` where the arrays of a shard make no sense, whatever their hashes say.

    All ends are looked at, but only the first tokens.
    """
    highest = int(tokens[:CHECKED_TOKENS].max())
    if highest >= vocabulary_size:
        raise InputError(
            f"{place}.tokens: id {highest} is beyond the vocabulary of {vocabulary_size:,} "
            "entries: prepare the store anew"
        )
    for part, ends, last in (
        ("sentence_ends", sentence_ends, shard["tokens"]),
        ("document_ends", document_ends, shard["sentences"]),
    ):
        if ends[0] == 0 or ends[-1] != last or np.any(ends[1:] <= ends[:-1]):
            raise InputError(f"{place}.{part}: these are no ends: prepare the store anew")


def _starts(shards: list[dict], key: str) -> np.ndarray:
    return np.cumsum([0] + [shard[key] for shard in shards], dtype=np.int64)


def _join(parts: list[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Ends of all shards, counted over all of them; never twice in memory."""
    joined, filled = np.empty(sum(map(len, parts)), np.int64), 0
    for part, start in zip(parts, starts):
        joined[filled : filled + len(part)] = part
        joined[filled : filled + len(part)] += start
        filled += len(part)
    return joined
