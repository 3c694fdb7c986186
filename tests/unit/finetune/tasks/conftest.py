"""Small tokenizers of each kind, and logits as a perfect model would give them."""

from __future__ import annotations

import random
from pydoc_data.topics import topics

import pytest

from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer
from tokenizer.training import train_tokenizer

KINDS = ("wordpiece", "byte-bpe", "sentencepiece")


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Tokenizer]:
    """One of each kind, of 500 pieces."""
    prose = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")[:300]
    return {
        kind: train_tokenizer(TokenizerConfig(kind=kind, vocabulary_size=500), prose)
        for kind in KINDS
    }


@pytest.fixture(params=KINDS)
def tokenizer(request, tokenizers) -> Tokenizer:
    return tokenizers[request.param]


@pytest.fixture(scope="session")
def words() -> list[str]:
    """Words known and unknown to the tokenizers, some with a character they lack."""
    rng = random.Random(0)
    known = " ".join(topics[name] for name in sorted(topics)[:20]).split()[:300]
    made_up = ["".join(rng.choices("aeioklmnst", k=rng.randint(1, 9))) for _ in range(60)]
    return [*known, *made_up, "Zoë", "naïve", "1,000.5", "😀", "한국어", "e\u0301tude", "ﬁne"]
