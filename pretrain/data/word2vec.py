"""Word embeddings from which words stand near which: word2vec on a store's tokens, by gensim.

An encoder's first few million tokens teach it little more than that, and slowly. word2vec learns
the same from a hundred times as many tokens a second.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.errors import InputError
from configs.schema import EmbeddingsConfig, PretrainConfig
from configs.system.files import sha256_file, written_aside
from configs.system.notes import PROGRESS
from configs.system.waiting import locked
from pretrain.data.corpus import Corpus
from pretrain.data.store import TokenStore
from pretrain.data.verification import verify

logger = logging.getLogger(__name__)

NEGATIVE_SAMPLES = 5
FREQUENT = 1e-3
"""words above this share of the text are thinned out (Mikolov et al., 2013, section 2.3)"""
LONGEST = 1000
VECTORS, HASH = "vectors.npy", "vectors.sha256"


def word_vectors(config: PretrainConfig, corpus: Corpus) -> Tensor:
    """float32 (vocabulary, hidden size): word2vec of the training tokens, zero for unseen ones.

    Made once for each corpus and choice, and kept in `data.cache`; one rank makes, others wait.

    Raises:
        InputError: the store, or what is kept, is damaged.
    """
    width, size = config.model.hidden_size, corpus.tokenizer.vocabulary_size
    identity = [corpus.fingerprint, width, config.seed, asdict(config.embeddings)]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = Path(config.data.cache).expanduser() / "word2vec" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), f"another process to make {folder}"):
        if not (folder / HASH).is_file():
            verify(corpus.folder, config.data)
            logger.log(PROGRESS, f"word2vec on {corpus.train.token_count:,} tokens ...")
            vectors = train_word2vec(Sentences(corpus.train), width, config.embeddings, config.seed)
            table = np.zeros((size, width), np.float32)
            for token, vector in vectors.items():
                table[int(token)] = vector
            with written_aside(folder) as aside:
                np.save(aside / VECTORS, table)
                (aside / HASH).write_text(sha256_file(aside / VECTORS))
    if sha256_file(folder / VECTORS) != (folder / HASH).read_text():
        raise InputError(f"{folder / VECTORS}: content is damaged: delete {folder} to make it anew")
    return torch.from_numpy(np.load(folder / VECTORS))


class Sentences:
    """The documents of a store as lists of words, each token's id being its word."""

    def __init__(self, store: TokenStore) -> None:
        self.store = store
        self.names = [str(token) for token in range(len(store.unigram_counts))]

    def __iter__(self) -> Iterator[list[str]]:
        for part in self.store.layouts.portions:
            layout = self.store.layouts.part(part.start, part.stop)
            start = layout.first_token
            for end in (start + layout.sentence_ends[layout.document_ends - 1]).tolist():
                for first in range(start, end, LONGEST):
                    tokens = self.store.tokens(first, min(first + LONGEST, end))
                    yield [self.names[token] for token in tokens]
                start = end


def train_word2vec(
    sentences: Iterable[list[str]], width: int, config: EmbeddingsConfig, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Each word's vector, float32 (width), from negative sampling; equal for equal arguments.

    One thread: with several, gensim's result depends on their race.
    """
    from gensim.models import Word2Vec

    model = Word2Vec(
        sentences,
        vector_size=width,
        window=config.window,
        sg=int(config.skip_gram),
        negative=NEGATIVE_SAMPLES,
        sample=FREQUENT,
        epochs=config.epochs,
        min_count=1,
        workers=1,
        seed=seed,
    )
    return dict(zip(model.wv.index_to_key, model.wv.vectors))
