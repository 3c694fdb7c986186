"""From a configuration to a tokenizer and a token store, built once and then reused.

`cache.py` says where both lie. A store is built piece by piece, by one process or by many jobs
that share the cache; the one that finds all pieces there joins them by writing the manifest.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from configs.errors import InputError
from configs.schema import PretrainConfig, SourceConfig
from configs.system.aside import clear_leftovers, remove
from configs.system.notes import PROGRESS
from configs.system.run_names import TOKENIZER
from configs.system.waiting import locked
from pretrain.data.blocks import Entry
from pretrain.data.cache import CachedStore, cache_of, find_store, text_identity, tokenizer_folder
from pretrain.data.manifest import fingerprint, read_manifest, write_manifest
from pretrain.data.pieces import ReadUnit, documents, no_text, units_of
from pretrain.data.store import SPLITS, TokenStore, join_splits
from pretrain.data.store_sources import describe_sources, sources_note
from pretrain.data.tokenise import find_missing, is_heldout, piece_name, read_piece, write_pieces
from pretrain.text.sentences import split_sentences
from pretrain.text.source import notes, source_names
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.training import train_tokenizer

logger = logging.getLogger(__name__)
tell = partial(logger.log, PROGRESS)

MOST_UNKNOWN = 0.01
"""share of unknown tokens; above it the user is warned"""


@dataclass(frozen=True)
class Corpus:
    """Text ready for training."""

    folder: Path
    tokenizer: Tokenizer
    train: TokenStore
    heldout: TokenStore
    fingerprint: str
    """sha256 of the store's manifest"""
    note: str = ""
    """what a person should know of its sources, if anything"""


def prepare(config: PretrainConfig) -> Corpus:
    """The corpus of a configuration, made now or found in the cache.

    Safe to call from several ranks or jobs at once: one builds, the others wait. Pieces that are
    there, from jobs of `prepare_shard` or a killed preparation, are kept.

    Raises:
        InputError: unreadable or empty sources, a vocabulary that the text cannot fill, a full
            disk, a damaged store, or a tokenizer that does not match `data.store`.
    """
    return open_corpus(prepare_store(config), config)


def prepare_store(config: PretrainConfig) -> Path:
    """The folder of the corpus's store, made now or found; raises as `prepare` does."""
    if config.data.store:
        return Path(config.data.store)
    store = _locate(config)
    if store.is_done:
        return store.folder
    with _lock(store.folder):
        if not store.is_done:
            units = units_of(config.data)
            numbers = _numbers(units)
            whole = len(numbers) - len(find_missing(store.folder, numbers, store.dtype))
            if whole:
                tell(f"{store.folder}: {whole} of {len(numbers)} pieces are there, making the rest")
            _write(store, units, numbers)
            _join(store, units)
    return store.folder


def prepare_shard(config: PretrainConfig, shard: int, shards: int) -> str:
    """Make every `shards`-th piece of the corpus, from number `shard` on; what came out, in words;
    raises as `prepare` does."""
    _refuse_store(config)
    store = _locate(config)
    if store.is_done:
        return f"{store.folder} is finished already"
    units = units_of(config.data)
    mine = _numbers(units)[shard::shards]
    _write(store, units, mine)
    return f"{len(mine)} of {len(_numbers(units))} pieces in {store.folder}"


def merge_shards(config: PretrainConfig, shards: int) -> Path:
    """Join the pieces that all jobs made; returns the store's folder; raises `InputError`: a job
    has not finished, or the text is too little."""
    _refuse_store(config)
    store = _locate(config)
    with _lock(store.folder):
        if not store.is_done:
            units = units_of(config.data)
            if missing := find_missing(store.folder, _numbers(units), store.dtype):
                raise InputError(_unfinished(store.folder, missing, len(_numbers(units)), shards))
            _join(store, units)
    return store.folder


def open_corpus(folder: Path, config: PretrainConfig, most_tokens: int | None = None) -> Corpus:
    """Open the store in `folder`; `InputError` where `tokenizer.path` names another tokenizer.

    `most_tokens` opens the first documents of each split only.
    """
    manifest = read_manifest(folder)
    tokenizer = load_tokenizer(folder / TOKENIZER)
    made_with = (manifest.get("identity") or {}).get("tokenizer", tokenizer.fingerprint)
    if made_with != tokenizer.fingerprint:
        raise InputError(
            f"{folder / TOKENIZER} is not the one that the store was made with: restore it, or "
            f"delete {folder} to rebuild the store"
        )
    if config.data.store and config.tokenizer.path:
        given = load_tokenizer(Path(config.tokenizer.path), lowercase=config.tokenizer.lowercase)
        if given.fingerprint != tokenizer.fingerprint:
            raise InputError(
                f"data.store={folder} was made with another tokenizer than "
                f"tokenizer.path={config.tokenizer.path}: prepare it anew or leave out one of them"
            )
    train, heldout = (TokenStore.open(folder, split, most_tokens) for split in SPLITS)
    if {len(train.unigram_counts), len(heldout.unigram_counts)} != {tokenizer.vocabulary_size}:
        raise InputError(
            f"{folder}: the store was made with a vocabulary of another size than that of its "
            "tokenizer: prepare it anew"
        )
    if heldout.sources and not config.data.store:
        # What sources are called is no matter of their text, and may change while the store stays.
        names = source_names(config.data.sources)
        heldout = replace(heldout, sources=replace(heldout.sources, names=names))
    note = sources_note(manifest, folder, heldout.sources)
    return Corpus(folder, tokenizer, train, heldout, fingerprint(manifest), note)


def sentences(config: PretrainConfig, heldout: bool) -> Iterator[str]:
    """The sentences of one split, the sources taking turns.

    A tokenizer learns from the first megabytes of them, which should not be of one source alone.
    """
    streams = [documents(config.data, source) for source in config.data.sources]
    while streams:
        for stream in list(streams):
            document = next(stream, None)
            if document is None:
                streams.remove(stream)
            elif is_heldout(document, config.data.heldout_fraction) == heldout:
                yield from split_sentences(document.text, config.data.language)


def _locate(config: PretrainConfig) -> CachedStore:
    """Where the store lies, and its tokenizer, trained now if it is not there."""
    cache_of(config).mkdir(parents=True, exist_ok=True)
    _tell_notes(tuple(config.data.sources))
    text = text_identity(config, keeps_hashes=True)
    if not config.tokenizer.path:
        _require_tokenizer(config, tokenizer_folder(config, text))
    store = find_store(config, text)
    assert store is not None, "the tokenizer was just made"
    return store


def _require_tokenizer(config: PretrainConfig, folder: Path) -> None:
    """Train the tokenizer on the training documents if it is not in `folder` yet."""
    with _lock(folder):
        if not folder.is_dir():
            choice, texts = config.tokenizer, sentences(config, heldout=False)
            tell(f"training a {choice.kind} tokenizer, {choice.vocabulary_size:,} entries ...")
            train_tokenizer(choice, texts, tell).save(folder)


def _write(store: CachedStore, units: list[ReadUnit], numbers: range) -> None:
    store.folder.mkdir(parents=True, exist_ok=True)
    write_pieces(store.folder, units, numbers, store.config, store.tokenizer)


def _join(store: CachedStore, units: list[ReadUnit]) -> None:
    """Make a store of its finished pieces: counts are summed, token files stay as they are."""
    read = {n: read_piece(store.folder, n, store.dtype) for n in _numbers(units)}
    pieces = {piece_name(n): piece for n, piece in read.items() if piece}
    assert len(pieces) == len(read), "all pieces are there"
    try:
        _check_sources(store.config, units, list(pieces.values()))
        _check_splits([piece["splits"] for piece in pieces.values()], store.config)
    except InputError:
        remove(store.folder)  # no text can be added to a store of this name
        raise
    splits = {
        split: join_splits(store.folder, split, {n: p["splits"][split] for n, p in pieces.items()})
        for split in SPLITS
    }
    store.tokenizer.save(store.folder / TOKENIZER)
    clear_leftovers(store.folder)
    for lock in store.folder.glob(".*.lock"):
        lock.unlink()
    sources = store.config.data.sources
    numbers = [[n for u in units if u.source is source for n in u.numbers] for source in sources]
    own = [[pieces[piece_name(n)]["splits"] for n in part] for part in numbers]
    # Last: a kill before it leaves pieces that the next start joins, and nothing comes after it.
    told = describe_sources(source_names(sources), own)
    write_manifest(store.folder, splits, store.dtype, store.identity, told)
    _tell_unknown(store)


def _tell_unknown(store: CachedStore) -> None:
    """Warn of a tokenizer that does not fit the text: a named one may know none of its words."""
    counts = TokenStore.open(store.folder, "train").unigram_counts
    unk = store.tokenizer.special.unk
    if counts[unk] > MOST_UNKNOWN * counts.sum():
        tell(
            f"{counts[unk] / counts.sum():.1%} of all tokens are {store.tokenizer.pieces[unk]}: "
            "the tokenizer does not fit this text (its language, its case, or too small a "
            "vocabulary)"
        )


def _check_sources(config: PretrainConfig, units: list[ReadUnit], pieces: list[Entry]) -> None:
    """Raise for a source without a document, and report rows without text."""
    for number, source in enumerate(config.data.sources):
        own = [pieces[n] for unit in units if unit.source is source for n in unit.numbers]
        read, empty = (sum(piece[name] for piece in own) for name in ("read", "empty"))
        if not read:
            raise no_text(source)
        if empty:
            tell(
                f"data.sources.{number}: left out {empty:,} of {read + empty:,} rows, which hold "
                "no text (null or blank)"
            )


def _check_splits(pieces: list[dict[str, Entry]], config: PretrainConfig) -> None:
    """Raise where a split has no document; `pieces` are the splits of each piece."""
    counts = {split: sum(piece[split]["documents"] for piece in pieces) for split in SPLITS}
    for split, count in counts.items():
        if not count:
            raise InputError(
                f"data.sources: none of the {sum(counts.values())} documents fell into the {split} "
                "split: give more documents or change data.heldout_fraction="
                f"{config.data.heldout_fraction}"
            )


@cache
def _tell_notes(sources: tuple[SourceConfig, ...]) -> None:
    """Once in a process, and by one of its ranks."""
    if os.environ.get("RANK", "0") == "0":
        for line in notes(sources):
            tell(line)


def _numbers(units: list[ReadUnit]) -> range:
    return range(units[-1].numbers.stop)


def _refuse_store(config: PretrainConfig) -> None:
    if config.data.store:
        raise InputError(
            f"data.store={config.data.store} names a finished store: leave it out, or leave out "
            "--shard and --num-shards"
        )


def _unfinished(folder: Path, missing: list[int], total: int, shards: int) -> str:
    late = sorted({number % shards for number in missing})
    names = ", ".join(map(str, late[:20])) + (", ..." if len(late) > 20 else "")
    return (
        f"{folder}: {len(missing)} of {total} pieces are missing, those of shard {names}: run this "
        f"command with --shard {late[0]}{' (and so on)' if len(late) > 1 else ''}, then again "
        "without; or without --num-shards, to make the rest in one process"
    )


def _lock(folder: Path) -> AbstractContextManager[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return locked(folder.with_name(f"{folder.name}.lock"), f"another process to make {folder}")
