"""Held-out words by source: told by the text, which differs."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from configs.schema import BatchConfig, EvaluationConfig, PretrainConfig, TokenizerConfig
from pretrain.data.heldout import WordMeasure, measured
from pretrain.data.store_sources import StoreSources
from pretrain.data.tokenise import encode
from tests.helpers import flatten, open_store
from tokenizer.training import train_tokenizer

LATIN, KOREAN = ["the", "reader's", "long", "ab"], ["학교에서는", "먹었습니다", "나"]


def documents(words: list[str], seed: int) -> list[list[str]]:
    rng = random.Random(seed)
    return [
        [" ".join(rng.choices(words, k=rng.randint(1, 20))) for _ in range(rng.randint(1, 20))]
        for _ in range(30)
    ]


@pytest.fixture(scope="module")
def measure(tmp_path_factory) -> WordMeasure:
    texts = documents(LATIN, 0) + documents(KOREAN, 1)
    kind = TokenizerConfig(kind="byte-bpe", vocabulary_size=330, allow_smaller_vocabulary=True)
    tokenizer = train_tokenizer(kind, flatten(texts))
    store = open_store(tmp_path_factory.mktemp("words") / "store", encode(tokenizer, texts))
    ends = store.sentence_ends[store.document_ends[[29, 59]] - 1]
    store = replace(store, sources=StoreSources(("latin", "korean"), ends, ends))
    config = PretrainConfig(
        max_length=48,
        batch=BatchConfig(sequences=16, micro_sequences=4),
        evaluation=EvaluationConfig(sequences=64),
    )
    return WordMeasure(store, measured(config.resolved()), tokenizer), tokenizer


def test_words_and_bytes_are_those_of_their_source(measure):
    measure, tokenizer = measure
    sizes = {"latin": 0, "korean": 0}
    for batch in measure.collate.batches():
        for label, source in zip(batch.labels_M.tolist(), batch.sources_M.tolist()):
            content = tokenizer.token_bytes[label].strip()
            assert source == (max(content, default=0) > 127)
            sizes[("latin", "korean")[source]] += len(content)
    found = measure.by_source
    assert {name: size for name, (_, size) in found.items()} == sizes
    assert sum(words for words, _ in found.values()) == measure.predicted
    assert sum(sizes.values()) == measure.predicted_bytes
    # Korean syllables have three bytes each: words of 1 to 5 syllables, against 2 to 8 letters.
    assert found["korean"][1] / found["korean"][0] > 8 > found["latin"][1] / found["latin"][0]


def test_ranks_share_the_words_of_each_source(measure):
    collate = measure[0].collate
    shares = flatten([collate.batches(rank, 3) for rank in range(3)])

    def counts(batches) -> list[int]:
        return np.bincount(np.concatenate([b.sources_M.numpy() for b in batches])).tolist()

    assert counts(shares) == counts(collate.batches()) and min(counts(shares)) > 0
