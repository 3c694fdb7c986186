"""A corpus cut into pieces: what jobs share, and what a kill leaves standing.

Where a piece begins and ends depends on the sources and on `data.piece_megabytes` alone, never on
how many jobs there are; the store is its pieces, one after the other. A `ReadUnit` is what is read
from its beginning to its end: a range of bytes of a large plain file, a run of small files, or a
large file that cannot be read from the middle (compressed, CSV, Parquet). The last is one unit of
several pieces: a job that wants its third piece must read, but not tokenise, the first two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from configs.errors import InputError
from configs.schema import DataConfig, SourceConfig
from pretrain.text.compression import compression_of
from pretrain.text.find_files import find_files
from pretrain.text.hub import hub_files, read_hub
from pretrain.text.installed_docs import installed_documents
from pretrain.text.lines import ByteRange, find_cut
from pretrain.text.source import Document, weighted
from pretrain.text.text_files import can_split, read_file

EXPANSION = 4
"""bytes of text in a byte of a compressed file, about; more makes the last piece longer"""


@dataclass(frozen=True)
class ReadUnit:
    """Some text of one source, read in one go and cut into `pieces` pieces."""

    source: SourceConfig
    files: tuple[Path, ...] = ()
    part: int = 0
    """of a large plain file or a hub data set: which of its `parts`"""
    parts: int = 1
    first: int = 0
    """number of its first piece"""
    pieces: int = 1
    piece_bytes: int | None = None
    """UTF-8 bytes of text in each, about; None: not known"""

    @property
    def numbers(self) -> range:
        """Of its pieces."""
        return range(self.first, self.first + self.pieces)


def units_of(data: DataConfig) -> list[ReadUnit]:
    """The corpus in order, source by source; raises `InputError`: a file is missing, or a hub data
    set cannot be reached."""
    units: list[ReadUnit] = []
    first = 0
    for source in data.sources:
        for unit in _of_source(source, piece_bytes(data)):
            units.append(replace(unit, first=first))
            first += unit.pieces
    return units


def piece_bytes(data: DataConfig) -> int:
    """UTF-8 bytes of text in a piece."""
    return max(1, int(data.piece_megabytes * 1e6))


def read_unit(unit: ReadUnit, heldout_fraction: float) -> Iterator[Document]:
    """The documents of a unit, each once; rows without text give empty ones.

    Args:
        heldout_fraction: share of `installed-docs` to hold out, by package.
    Raises:
        InputError: text that cannot be read.
    """
    source = unit.source
    if source.kind == "installed-docs":
        for text, heldout in installed_documents(heldout_fraction):
            yield Document(text, heldout)
        return
    if source.kind == "hub":
        texts = read_hub(source, unit.part)
    elif unit.parts > 1:
        texts = read_file(unit.files[0], source, _byte_range(unit))
    else:
        texts = (text for path in unit.files for text in read_file(path, source))
    yield from (Document(text if text.strip() else "") for text in texts)


def documents(data: DataConfig, source: SourceConfig) -> Iterator[Document]:
    """All documents of one source, in order, each as often as its weight says; raises `InputError`:
    a source is missing, broken, or holds no text."""
    empty = True
    for unit in _of_source(source, piece_bytes(data)):
        for document in read_unit(unit, data.heldout_fraction):
            if document.text:
                empty = False
                yield from weighted([document], source.weight)
    if empty:
        raise no_text(source)


def no_text(source: SourceConfig) -> InputError:
    """The error of a source without documents."""
    return InputError(
        f"data.sources: {source.path or source.kind} holds no text: "
        "name a source with at least one document that is not empty"
    )


def cut_unit(
    unit: ReadUnit, heldout_fraction: float, size: int
) -> Iterator[tuple[int, Iterator[Document]]]:
    """The number and the documents of each piece of a unit, those without documents too. `size`:
    bytes of text after which a piece ends; the last one takes what remains."""
    read = 0

    # By the text alone: every job that reads this unit cuts it at the same documents.
    # A document is of the piece in which it begins.
    def number_of(document: Document) -> int:
        nonlocal read
        number = min(read // size, unit.pieces - 1)
        read += len(document.text.encode())
        return unit.first + number

    # A document longer than a piece leaves the pieces after its own empty. They are given as well:
    # a piece that never comes would look unfinished for ever.
    following = unit.first
    for number, documents in groupby(read_unit(unit, heldout_fraction), key=number_of):
        yield from ((empty, iter(())) for empty in range(following, number))
        yield number, documents
        following = number + 1
    yield from ((empty, iter(())) for empty in range(following, unit.numbers.stop))


def _of_source(source: SourceConfig, size: int) -> Iterator[ReadUnit]:
    if source.kind == "installed-docs":
        yield ReadUnit(source)
    elif source.kind == "hub":
        parts = hub_files(source)
        yield from (ReadUnit(source, part=part, parts=parts) for part in range(parts))
    else:
        for files in _runs(find_files(source), size):
            yield from _of_files(source, files, size)


def _runs(files: list[Path], size: int) -> Iterator[tuple[Path, ...]]:
    """Files that follow one another, together not beyond `size` bytes unless one alone is."""
    run: list[Path] = []
    held = 0
    for path in files:
        length = path.stat().st_size
        if run and held + length > size:
            yield tuple(run)
            run, held = [], 0
        run.append(path)
        held += length
    yield tuple(run)


def _of_files(source: SourceConfig, files: tuple[Path, ...], size: int) -> Iterator[ReadUnit]:
    # How many pieces a file has must be known before it is read: from its size, which is a guess
    # where it is compressed. A wrong guess makes pieces of another size, and loses nothing.
    packed = source.kind == "parquet" or any(map(compression_of, files))
    length = sum(path.stat().st_size for path in files) * (EXPANSION if packed else 1)
    count = max(1, -(-length // size))
    if count > 1 and can_split(files[0], source):
        for part in range(count):
            yield ReadUnit(source, files, part, count, piece_bytes=length // count)
    else:
        yield ReadUnit(source, files, pieces=count, piece_bytes=length // count)


def _byte_range(unit: ReadUnit) -> ByteRange:
    (path,) = unit.files
    length = path.stat().st_size
    # Part n ends where part n + 1 begins, as both ask for the same cut: each line is read once.
    between_blocks = unit.source.kind == "text" and unit.source.documents == "blank-line"
    start, end = (
        find_cut(path, length * number // unit.parts, between_blocks)
        for number in (unit.part, unit.part + 1)
    )
    return ByteRange(start, end)
