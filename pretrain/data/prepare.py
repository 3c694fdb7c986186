"""From a configuration to a tokenizer and a token store, built once and then reused.

Both live in `data.cache` under a name that is a hash of everything that decides their content: the
sources' bytes, the split, the tokenizer. A change of any of these makes another name, so nothing
stale is ever read; the manifest, written last, tells a whole store from a torn one.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from filelock import FileLock

from configs.errors import InputError
from configs.files import written_aside
from configs.schema import PretrainConfig
from pretrain.data.sentences import RULES_VERSION, split_sentences
from pretrain.data.source import Document, documents, source_identity
from pretrain.data.store import (
    FORMAT_VERSION,
    SPLITS,
    SplitWriter,
    TokenStore,
    read_manifest,
    token_dtype,
    write_manifest,
)
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.train import train_tokenizer

ENCODE_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class Corpus:
    """Text ready for training."""

    folder: Path
    tokenizer: Tokenizer
    train: TokenStore
    heldout: TokenStore
    fingerprint: str
    """sha256 of the store's manifest"""


def prepare(config: PretrainConfig) -> Corpus:
    """The corpus of a configuration, made now or found in the cache.

    Safe to call from several ranks or jobs at once: one builds, the others wait.

    Raises:
        InputError: unreadable or empty sources, a vocabulary that the text cannot fill, a full
            disk, a damaged store, or a tokenizer that does not match `data.store`.
    """
    folder = Path(config.data.store) if config.data.store else _build(config)
    return open_corpus(folder, config)


def open_corpus(folder: Path, config: PretrainConfig) -> Corpus:
    """Open the store in `folder`; `InputError` where `tokenizer.path` names another tokenizer."""
    manifest = read_manifest(folder)
    tokenizer = load_tokenizer(folder / "tokenizer")
    if config.data.store and config.tokenizer.path:
        given = load_tokenizer(Path(config.tokenizer.path), lowercase=config.tokenizer.lowercase)
        if given.fingerprint != tokenizer.fingerprint:
            raise InputError(
                f"data.store={folder} was made with another tokenizer than "
                f"tokenizer.path={config.tokenizer.path}: prepare it anew or leave out one of them"
            )
    train, heldout = (TokenStore.open(folder, split) for split in SPLITS)
    return Corpus(folder, tokenizer, train, heldout, _digest(manifest))


def _build(config: PretrainConfig) -> Path:
    cache = Path(config.data.cache).expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    corpus = {
        "sources": [source_identity(source) for source in config.data.sources],
        "language": config.data.language,
        "heldout_fraction": config.data.heldout_fraction,
    }
    tokenizer = _find_tokenizer(config, cache, corpus)
    identity = {
        **corpus,
        "tokenizer": tokenizer.fingerprint,
        "sentence_rules": RULES_VERSION,
        "format_version": FORMAT_VERSION,
    }
    folder = cache / "stores" / _digest(identity)[:16]
    with _lock(folder):
        if not (folder / "manifest.json").is_file():
            with written_aside(folder) as aside:
                _write_store(aside, config, tokenizer, identity)
    return folder


def _find_tokenizer(config: PretrainConfig, cache: Path, corpus: dict) -> Tokenizer:
    """The tokenizer named by the configuration, or the one trained on the training documents."""
    if config.tokenizer.path:
        return load_tokenizer(Path(config.tokenizer.path), lowercase=config.tokenizer.lowercase)
    identity = {**corpus, "tokenizer": asdict(config.tokenizer)}
    folder = cache / "tokenizers" / _digest(identity)[:16]
    with _lock(folder):
        if not folder.is_dir():
            say(
                f"training a {config.tokenizer.kind} tokenizer, "
                f"{config.tokenizer.vocabulary_size:,} entries ..."
            )
            train_tokenizer(config.tokenizer, sentences(config, heldout=False)).save(folder)
    return load_tokenizer(folder)


def sentences(config: PretrainConfig, heldout: bool) -> Iterator[str]:
    """The sentences of one split, the sources taking turns so that each is heard early on."""
    fraction = config.data.heldout_fraction
    streams = [documents([source], fraction) for source in config.data.sources]
    while streams:
        for stream in list(streams):
            document = next(stream, None)
            if document is None:
                streams.remove(stream)
            elif is_heldout(document, fraction) == heldout:
                yield from split_sentences(document.text, config.data.language)


def _write_store(
    folder: Path, config: PretrainConfig, tokenizer: Tokenizer, identity: dict
) -> None:
    started = time.monotonic()
    writers = {split: SplitWriter(folder / split, tokenizer.vocabulary_size) for split in SPLITS}
    stream = documents(config.data.sources, config.data.heldout_fraction)
    for batch in _batched(stream, ENCODE_CHARACTERS):
        texts = [split_sentences(document.text, config.data.language) for document in batch]
        for document, text, ids in zip(batch, texts, encode(tokenizer, texts)):
            heldout = is_heldout(document, config.data.heldout_fraction)
            text_bytes = sum(len(sentence.encode()) + 1 for sentence in text)
            writers["heldout" if heldout else "train"].add(ids, text_bytes)
        done = sum(writer.text_bytes for writer in writers.values()) / 1e6
        say(f"tokenised {done:,.1f} MB, {done / (time.monotonic() - started):.1f} MB/s", end="\r")
    splits = {split: writer.finish() for split, writer in writers.items()}
    say("")
    _check_splits(splits, config)
    tokenizer.save(folder / "tokenizer")
    write_manifest(folder, splits, token_dtype(tokenizer.vocabulary_size), identity)


def _check_splits(splits: dict[str, dict], config: PretrainConfig) -> None:
    total = sum(content["documents"] for content in splits.values())
    for split, content in splits.items():
        if not content["documents"]:
            raise InputError(
                f"data.sources: none of the {total} documents fell into the {split} split: "
                f"give more documents or change data.heldout_fraction="
                f"{config.data.heldout_fraction}"
            )


def encode(tokenizer: Tokenizer, documents: list[list[str]]) -> list[list[list[int]]]:
    """The ids of every sentence of every document, all encoded in one parallel call."""
    flat = [
        tokenizer.sentence_prefix + sentence if number else sentence
        for document in documents
        for number, sentence in enumerate(document)
    ]
    ids = iter(tokenizer.encode_batch(flat))
    return [list(islice(ids, len(document))) for document in documents]


def is_heldout(document: Document, fraction: float) -> bool:
    """Whether a document is held out: as its source says, else by a hash of its text."""
    if document.heldout is not None:
        return document.heldout
    digest = hashlib.blake2b(document.text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _batched(stream: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Runs of documents of about `size` characters, so that memory stays flat."""
    batch, held = [], 0
    for document in stream:
        batch.append(document)
        held += len(document.text)
        if held >= size:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _lock(folder: Path) -> FileLock:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_name(f"{folder.name}.lock"))


def _digest(value: dict) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def say(text: str, end: str = "\n") -> None:
    """Progress goes to standard error: standard output is for results."""
    print(text, end=end, file=sys.stderr, flush=True)
