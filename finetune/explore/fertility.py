"""How many tokens each tokenizer makes of a task's texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from configs.errors import InputError
from configs.schema import TokenizerConfig
from configs.system.run_names import TOKENIZER
from finetune.data.example import TextExample
from finetune.explore.profile import count_words
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.training import train_tokenizer

KINDS: Final = ("wordpiece", "byte-bpe", "sentencepiece")
VOCABULARY = 8192


@dataclass(frozen=True)
class TokenCounts:
    """A tokenizer on a list of examples."""

    name: str
    kind: str
    entries: int
    lengths: np.ndarray
    """tokens of each example as the model sees it uncut, special tokens included"""
    tokens_per_word: float
    """fertility (Rust et al., 2021, section 3.2), special tokens left out"""
    unknown: float
    """share of tokens that are the unknown token"""


def texts_of(examples: Sequence[TextExample]) -> list[str]:
    """All texts, both of a pair."""
    texts = [example.text for example in examples]
    return texts + [example.pair for example in examples if example.pair is not None]


def count_tokens(name: str, tokenizer: Tokenizer, examples: Sequence[TextExample]) -> TokenCounts:
    """Encode all examples."""
    texts = texts_of(examples)
    encoded = tokenizer.encode_batch(texts)
    # Rows: all first texts, and of pairs all second ones.
    sizes = np.array([len(ids) for ids in encoded]).reshape(-1, len(examples))
    ids = np.concatenate(encoded)
    return TokenCounts(
        name=name,
        kind=tokenizer.kind,
        entries=tokenizer.vocabulary_size,
        lengths=sizes.sum(0) + (2 if len(sizes) == 1 else tokenizer.framing.special_tokens),
        tokens_per_word=len(ids) / max(count_words(texts), 1),
        unknown=float((ids == tokenizer.special.unk).mean()),
    )


def open_tokenizers(paths: Sequence[Path]) -> dict[str, Tokenizer]:
    """Tokenizers by name: saved folders, run folders, published vocabularies."""
    opened = {}
    for path in paths:
        folder = path / TOKENIZER if (path / TOKENIZER).is_dir() else path
        tokenizer = open_tokenizer(folder)
        place = folder.parent if folder.name == TOKENIZER else folder
        name = place.resolve().stem
        opened[str(path) if name in opened else name] = tokenizer
    return opened


def open_tokenizer(path: Path) -> Tokenizer:
    """What `path` holds; a bare WordPiece vocabulary may be cased or uncased."""
    try:
        return load_tokenizer(path)
    except InputError:  # an uncased vocabulary is refused as a cased one; other faults come again
        return load_tokenizer(path, lowercase=True)


def train_tokenizers(texts: Sequence[str]) -> dict[str, Tokenizer]:
    """One of each kind, of `VOCABULARY` entries or what the texts allow."""
    trained = {}
    for kind in KINDS:
        config = TokenizerConfig(kind, VOCABULARY, allow_smaller_vocabulary=True)
        trained[f"{kind}, trained here"] = train_tokenizer(config, texts)
    return trained
