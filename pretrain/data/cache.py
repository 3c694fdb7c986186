"""Where a configuration's tokenizer and token store lie in the cache, and whether they are there.

Each has a folder in `data.cache` whose name is a hash of everything that decides its content: the
sources' bytes, the split, the tokenizer. A change of any of these makes another name, so nothing
stale is ever read. Making a store and looking for one both ask here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import PretrainConfig
from pretrain.data.manifest import FORMAT_VERSION, digest
from pretrain.data.store import token_dtype
from pretrain.text.sentences import RULES_VERSION
from pretrain.text.source import source_identity
from tokenizer.base import Framing, Tokenizer
from tokenizer.load import load_tokenizer


@dataclass(frozen=True)
class CachedStore:
    """A store that is in the cache, or is to be: where, of what, and with which tokenizer."""

    config: PretrainConfig
    folder: Path
    tokenizer: Tokenizer
    identity: dict[str, Any]
    """what decides the store's content, and so its name"""

    @property
    def dtype(self) -> np.dtype:
        """Of the token ids."""
        return token_dtype(self.tokenizer.vocabulary_size)

    @property
    def is_done(self) -> bool:
        """Whether it is whole: the manifest is written last."""
        return (self.folder / "manifest.json").is_file()


def find_store(config: PretrainConfig, text: dict[str, Any] | None = None) -> CachedStore | None:
    """The store that is made of a configuration's sources; None where its tokenizer is not trained.

    Nothing is made or written; only `corpus.py` does that.

    Args:
        text: the `text_identity` of the configuration, where it is known already.
    Raises:
        InputError: a source or the tokenizer that is named is missing or damaged.
    """
    text = text or text_identity(config)
    tokenizer = find_tokenizer(config, text)
    if tokenizer is None:
        return None
    identity = {
        **text,
        "tokenizer": tokenizer.fingerprint,
        "format_version": FORMAT_VERSION,
        "piece_megabytes": config.data.piece_megabytes,
    }
    return CachedStore(config, cache_of(config) / "stores" / short(identity), tokenizer, identity)


def find_tokenizer(config: PretrainConfig, text: dict[str, Any]) -> Tokenizer | None:
    """The tokenizer named by the configuration, or the one that was trained for it, if any."""
    if config.tokenizer.path:
        path = Path(config.tokenizer.path)
        tokenizer = load_tokenizer(path, lowercase=config.tokenizer.lowercase)
        tokenizer.framing = Framing()  # what pretraining here frames pairs by
        return tokenizer
    folder = tokenizer_folder(config, text)
    return load_tokenizer(folder) if folder.is_dir() else None


def tokenizer_folder(config: PretrainConfig, text: dict[str, Any]) -> Path:
    """Where the tokenizer is kept that is trained on the training documents of `text`."""
    identity = {**text, "tokenizer": asdict(config.tokenizer)}
    return cache_of(config) / "tokenizers" / short(identity)


def text_identity(config: PretrainConfig, keeps_hashes: bool = False) -> dict[str, Any]:
    """What decides the sentences and their split, as JSON: a tokenizer learns from nothing else.
    `keeps_hashes`: write those of large files into the cache; those that are there are used."""
    hashes = cache_of(config) / "hashes"
    return {
        "sources": [source_identity(s, hashes, keeps_hashes) for s in config.data.sources],
        "language": config.data.language,
        "sentence_rules": RULES_VERSION,
        "heldout_fraction": config.data.heldout_fraction,
    }


def cache_of(config: PretrainConfig) -> Path:
    """The folder of tokenizers and token stores."""
    return Path(config.data.cache).expanduser()


def short(identity: dict[str, Any]) -> str:
    """A folder's name."""
    return digest(identity)[:16]
