"""What several tests need: small corpora, token stores and vocabularies."""

from __future__ import annotations

import os
from itertools import count, islice
from pathlib import Path

import numpy as np

from pretrain.data.manifest import write_manifest
from pretrain.data.masking import Vocabulary
from pretrain.data.store import SplitWriter, TokenStore, token_dtype

Documents = list[list[list[int]]]
"""documents of sentences of token ids"""

SPECIAL_TOKENS = 3


def random_shape(
    seed: int, documents: int, sentences: int = 8, tokens: int = 12
) -> list[list[int]]:
    """Sentence lengths of random documents, of 1 to `sentences` sentences of 1 to `tokens` each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, sentences + 1, documents)
    return [rng.integers(1, tokens + 1, size).tolist() for size in sizes]


def numbered_documents(shape: list[list[int]]) -> Documents:
    """Documents of the given sentence lengths whose tokens are 0, 1, 2, ...: no two alike."""
    number = count()
    return [[list(islice(number, length)) for length in document] for document in shape]


def random_documents(seed: int, documents: int, ordinary: int = 100, **limits: int) -> Documents:
    """Documents of random tokens below `ordinary`; `limits` as in `random_shape`."""
    rng = np.random.default_rng(seed)
    shape = random_shape(seed, documents, **limits)
    return [[rng.integers(0, ordinary, n).tolist() for n in document] for document in shape]


def write_store(
    folder: Path, vocabulary_size: int, shard_tokens: int = 2**28, **splits: Documents
) -> Path:
    """A token store in `folder` with the given splits (`train=..., heldout=...`)."""
    contents = {}
    for split, documents in splits.items():
        writer = SplitWriter(folder / split, vocabulary_size, shard_tokens)
        for document in documents:
            writer.add(document, text_bytes=sum(map(len, document)))
        contents[split] = writer.finish()
    write_manifest(folder, contents, token_dtype(vocabulary_size), identity={"made": "by a test"})
    return folder


def open_store(folder: Path, documents: Documents, shard_tokens: int = 2**28) -> TokenStore:
    """`documents` written to `folder` as the split `train`, and opened."""
    vocabulary_size = 1 + max(flatten(flatten(documents)), default=0) + SPECIAL_TOKENS
    write_store(folder, vocabulary_size, shard_tokens, train=documents)
    return TokenStore.open(folder, "train")


def simple_vocabulary(ordinary: int = 100, continues_every: int = 0) -> Vocabulary:
    """Ids 0 to `ordinary` - 1, then [CLS], [SEP], [MASK].

    Every `continues_every`-th id (none for 0) continues the word of the token before.
    """
    ids = np.arange(ordinary + SPECIAL_TOKENS)
    continues = np.zeros(len(ids), bool)
    if continues_every:
        continues = (ids % continues_every == 1) & (ids < ordinary)
    return Vocabulary(*range(ordinary, ordinary + 3), np.arange(ordinary), continues)


def flatten(nested: list[list]) -> list:
    """One level of nesting less."""
    return [item for part in nested for item in part]


def assert_binomial(successes: int, trials: int, probability: float, sigmas: float = 5.0) -> None:
    """Fail where `successes` of `trials` is further from `probability` than chance explains."""
    deviation = (trials * probability * (1 - probability)) ** 0.5
    distance = abs(successes - trials * probability)
    assert distance <= sigmas * deviation, f"{successes} of {trials} is not {probability:.1%}"


def assert_uniform(counts: np.ndarray, sigmas: float = 5.0) -> None:
    """Fail where the chi-square statistic of `counts` against equal shares is beyond chance."""
    expected = counts.sum() / len(counts)
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    assert statistic <= freedom + sigmas * (2 * freedom) ** 0.5, f"chi-square {statistic:.0f}"


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by its path."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tree(folder: Path) -> dict[str, str]:
    """The text of every file below a folder, by its path from there."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Payload:
    """Unpickled without care, it makes the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)
