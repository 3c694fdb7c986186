"""Pieces of text to pieces of a store: each written aside, flushed, hashed, and renamed.

A piece that is there is whole, and is never written again; one that a kill cut off lies in a hidden
folder only, which is removed when its piece is begun anew. Whoever writes a piece holds its lock:
several jobs may work on one store, and none removes what another is still writing.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock, Timeout

from configs.schema import PretrainConfig
from configs.system.aside import clear_leftovers
from configs.system.files import written_aside
from configs.system.json_files import read_json
from configs.system.waiting import acquire
from pretrain.data.blocks import Entry
from pretrain.data.manifest import check_seal, check_splits, find_torn, sealed
from pretrain.data.pieces import ReadUnit, cut_unit, piece_bytes
from pretrain.data.progress import Progress
from pretrain.data.store import SPLITS, SplitWriter, token_dtype
from pretrain.text.sentences import split_sentences
from pretrain.text.source import Document, weighted
from tokenizer.base import Tokenizer, portions

ENCODE_CHARACTERS = 500_000
"""at a time: enough to keep all cores busy, and few enough to work on three lots at once"""
PIECE = "piece.json"
Item = TypeVar("Item")
Ids = list[list[list[int]]]
"""of every sentence of every document"""


def piece_name(number: int) -> str:
    """The folder of a piece, inside that of the store."""
    return f"{number:05d}"


def read_piece(folder: Path, number: int, dtype: np.dtype) -> Entry | None:
    """What a finished piece holds: `splits` as in a store's manifest, the documents `read`, and
    the rows that were `empty`.

    None where it is not finished, or a file of it has not its size.
    """
    place = folder / piece_name(number)
    try:
        piece = read_json(place / PIECE)
        check_splits(piece["splits"], dtype)
        check_seal(piece)
        return None if find_torn(place, piece["splits"]) else piece
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_missing(folder: Path, numbers: Iterable[int], dtype: np.dtype) -> list[int]:
    """Those of some pieces that are not finished.

    Sizes tell a torn file, and are enough here: the hashes that a piece was written with become the
    store's, and its blocks are verified against them before their first use (`data.verify`).
    """
    return [number for number in numbers if read_piece(folder, number, dtype) is None]


def write_pieces(
    folder: Path,
    units: list[ReadUnit],
    numbers: Collection[int],
    config: PretrainConfig,
    tokenizer: Tokenizer,
) -> None:
    """Finish the pieces `numbers` of the store in `folder`; those that are there are kept.

    `units` are those of the whole corpus. Pieces that another job is writing are left to it, and
    waited for at the end. Raises `InputError` for text that cannot be read, or a full disk.
    """
    # First whatever is free, so that jobs do not queue up for each other's pieces; then, waiting,
    # what others have begun: they may have been killed.
    for wait in (False, True):
        missing = set(find_missing(folder, numbers, token_dtype(tokenizer.vocabulary_size)))
        if not missing:
            return
        expected = [unit.piece_bytes for unit in units for n in unit.numbers if n in missing]
        writer = _PieceWriter(folder, config, tokenizer, Progress(expected), wait)
        for unit in units:
            if wanted := missing.intersection(unit.numbers):
                writer.write(unit, wanted)
        writer.progress.end()


@dataclass(frozen=True)
class _PieceWriter:
    """Reads units and writes those of their pieces that are asked for."""

    folder: Path
    config: PretrainConfig
    tokenizer: Tokenizer
    progress: Progress
    wait: bool

    def write(self, unit: ReadUnit, wanted: set[int]) -> None:
        """The `wanted` pieces of a unit, read no further than the last of them."""
        data = self.config.data
        for number, documents in cut_unit(unit, data.heldout_fraction, piece_bytes(data)):
            if number in wanted:
                self._write_piece(number, documents, unit.source.weight)
                self.progress.end_piece()
            if number == max(wanted):
                return

    def _write_piece(self, number: int, documents: Iterable[Document], weight: float) -> None:
        with claimed(self.folder, number, self.wait) as is_ours:
            dtype = token_dtype(self.tokenizer.vocabulary_size)
            if not is_ours or not find_missing(self.folder, [number], dtype):
                return
            with written_aside(self.folder / piece_name(number)) as aside:
                counted = _Counted(documents)
                splits = self._tokenise(aside, weighted(counted, weight))
                piece = {"splits": splits, "read": counted.read, "empty": counted.empty}
                (aside / PIECE).write_text(json.dumps(sealed(piece)), encoding="utf-8")

    def _tokenise(self, folder: Path, documents: Iterable[Document]) -> dict[str, Entry]:
        """Write the splits of one piece; their parts of the manifest."""
        size, data = self.tokenizer.vocabulary_size, self.config.data
        writers = {split: SplitWriter(folder / split, size) for split in SPLITS}
        for document, sentences, ids in self._encoded(documents):
            heldout = is_heldout(document, data.heldout_fraction)
            # What "bits per byte" counts: the text as it reads, a space between sentences and
            # nothing after the last.
            text_bytes = len(" ".join(sentences).encode())
            writers["heldout" if heldout else "train"].add(ids, text_bytes)
            self.progress.add(text_bytes + 1)
        return {split: writer.finish() for split, writer in writers.items()}

    def _encoded(
        self, documents: Iterable[Document]
    ) -> Iterator[tuple[Document, list[str], list[list[int]]]]:
        """Each document, its sentences, and their ids.

        The library encodes without Python's lock: meanwhile the next documents are read and cut,
        and those before are written.
        """
        language = self.config.data.language
        with ThreadPoolExecutor(1, "encode") as pool:
            waiting: deque[tuple[list[Document], list[list[str]], Future[Ids]]] = deque()
            for batch in batched(documents, ENCODE_CHARACTERS, lambda document: len(document.text)):
                texts = [split_sentences(document.text, language) for document in batch]
                waiting.append((batch, texts, pool.submit(encode, self.tokenizer, texts)))
                # Three lots are in work: one is read, one encoded, one written.
                if len(waiting) == 3:
                    yield from _finished(*waiting.popleft())
            while waiting:
                yield from _finished(*waiting.popleft())


def _finished(
    documents: list[Document], texts: list[list[str]], ids: Future[Ids]
) -> Iterable[tuple[Document, list[str], list[list[int]]]]:
    return zip(documents, texts, ids.result())


class _Counted:
    """Documents that hold text, and how many of them and of empty ones there were."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents, self.read, self.empty = documents, 0, 0

    def __iter__(self) -> Iterator[Document]:
        for document in self.documents:
            if document.text:
                self.read += 1
                yield document
            else:
                self.empty += 1


@contextmanager
def claimed(folder: Path, number: int, wait: bool) -> Iterator[bool]:
    """Hold the lock of a piece and clear away what a dead holder left; False: another holds it."""
    name = piece_name(number)
    lock = FileLock(folder / f".{name}.lock", timeout=0)
    try:
        if wait:
            acquire(lock, f"another process to make {folder / name}")
        else:
            lock.acquire()
    except Timeout:
        yield False
        return
    try:
        clear_leftovers(folder, name)
        yield True
    finally:
        lock.release()


def encode(tokenizer: Tokenizer, documents: list[list[str]]) -> Ids:
    """The ids of every sentence of every document, encoded in parallel.

    The library holds more than a hundred bytes a character while it encodes: a long document goes
    in lots, and a long sentence in portions, which end at a space and so give the same ids.
    """
    parts = [[portions(sentence) for sentence in document] for document in documents]
    # A sentence that is not a document's first stands after a space in the text, which byte-level
    # and SentencePiece tokenizers see: the prefix gives it that space.
    flat = (
        tokenizer.sentence_prefix + part if number or place else part
        for document in parts
        for number, sentence in enumerate(document)
        for place, part in enumerate(sentence)
    )
    lots = batched(flat, ENCODE_CHARACTERS, len)
    ids = chain.from_iterable(map(tokenizer.encode_batch, lots))
    # One row of ids for each portion comes back, in order: those of a sentence are joined.
    return [
        [list(chain.from_iterable(islice(ids, len(sentence)))) for sentence in document]
        for document in parts
    ]


def is_heldout(document: Document, fraction: float) -> bool:
    """Whether a document is held out: as its source says, else by a hash of its text."""
    if document.heldout is not None:
        return document.heldout
    # By the text, not by a place or a count: equal documents are on one side, and a document stays
    # on its side when others are added to the corpus.
    digest = hashlib.blake2b(document.text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def batched(stream: Iterable[Item], most: int, size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Runs of a stream, each of which ends with the item that reaches `most` in size."""
    batch: list[Item] = []
    held = 0
    for item in stream:
        batch.append(item)
        held += size(item)
        if held >= most:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
