"""Whole-word masking of many kinds of text, with all three tokenizers: the rate that is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from configs.schema import MaskingConfig, TokenizerConfig
from pretrain.data import masking
from pretrain.data.masking import Masked, Masker, Sequences, Vocabulary, make_vocabulary
from tests.helpers import assert_binomial
from tokenizer.base import Tokenizer
from tokenizer.training import train_tokenizer

SEED, TEXTS = 5, 400
CHINESE = "我们在北京大学学习自然语言处理技术的历史和发展经济文化世界人口国家首都"
KOREAN = [
    "먹었습니다",
    "학교에서는",
    "친구들과",
    "재미있었어요",
    "영화였는데",
    "보았습니다만",
    "정말로",
]
ENGLISH = ["the", "model", "reads", "a", "long", "sentence", "and", "predicts", "hidden", "words"]
KINDS = ("chinese", "links", "hashtags", "korean", "reviews", "short with a link", "english")


def text_of(kind: str, rng: random.Random) -> str:
    """A text of this kind."""
    words = [rng.choice(ENGLISH) for _ in range(rng.randint(3, 40))]
    link = "https://t.co/" + "".join(rng.choices("abcdefXYZ0123456789", k=rng.randint(10, 60)))
    if kind == "chinese":
        return "".join(rng.choices(CHINESE, k=rng.randint(10, 120))) + "。"
    if kind == "links":
        return " ".join([link, *words[:2], link])
    if kind == "hashtags":
        return " ".join("#" + "".join(rng.choices(ENGLISH, k=3)) for _ in words)
    if kind == "korean":
        return " ".join(rng.choices(KOREAN, k=rng.randint(4, 30)))
    if kind == "reviews":
        return "".join(rng.choices(KOREAN, k=rng.randint(2, 6))) + " " + rng.choice(KOREAN)
    return " ".join([*words[:5], link]) if kind == "short with a link" else " ".join(words)


def texts_of(kind: str) -> list[str]:
    rng = random.Random(SEED)
    return [text_of(kind, rng) for _ in range(TEXTS)]


@pytest.fixture(scope="module", params=["wordpiece", "byte-bpe", "sentencepiece"])
def tokenizer(request) -> Tokenizer:
    config = TokenizerConfig(kind=request.param, vocabulary_size=420, allow_smaller_vocabulary=True)
    return train_tokenizer(config, [text for kind in KINDS for text in texts_of(kind)])


def mask_texts(tokenizer: Tokenizer, kind: str, unit: str, probability: float = 0.15):
    """(tokens, lengths, maskable, masked) of the texts, framed, that are worth a prediction."""
    vocabulary = make_vocabulary(tokenizer)
    rows = [
        [vocabulary.cls_id, *ids[:126], vocabulary.sep_id]
        for ids in tokenizer.encode_batch(texts_of(kind))
        if len(ids) * probability >= 1
    ]
    tokens, lengths = np.concatenate(rows), np.asarray([len(row) for row in rows])
    ends = np.cumsum(lengths)
    maskable = np.ones(len(tokens), bool)
    maskable[ends - lengths] = maskable[ends - 1] = False
    config = MaskingConfig(probability=probability, unit=unit)
    samples = np.arange(len(rows))
    sequences = Sequences(tokens, lengths, maskable, samples)
    masked = Masker(config, vocabulary, SEED).mask(sequences, epoch=0)
    return tokens, lengths, maskable, masked


def counts_of(masked: Masked, lengths: np.ndarray) -> list[int]:
    """Predicted tokens of each sequence."""
    return np.bincount(
        np.searchsorted(np.cumsum(lengths), masked.predicted_M, side="right"),
        minlength=len(lengths),
    ).tolist()


@pytest.mark.parametrize("probability", [0.15, 0.4])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_is_the_one_asked(tokenizer, kind, probability):
    _, lengths, maskable, masked = mask_texts(tokenizer, kind, "word", probability)
    assert_binomial(len(masked.predicted_M), int(maskable.sum()), probability, sigmas=4.0)
    *_, tokens = mask_texts(tokenizer, kind, "token", probability)
    assert counts_of(masked, lengths) == counts_of(tokens, lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_whole_as_long_as_one_fits(tokenizer, kind):
    tokens, lengths, maskable, masked = mask_texts(tokenizer, kind, "word")
    vocabulary, cut = make_vocabulary(tokenizer), 0
    for sizes, chosen in rows_of(tokens, lengths, maskable, masked, vocabulary):
        parts = [(n, size) for n, size in zip(chosen, sizes) if 0 < n < size]
        assert len(parts) <= 1
        if parts:
            untouched = [size for n, size in zip(chosen, sizes) if n == 0]
            assert all(size > parts[0][0] for size in untouched)
            cut += 1
    if kind == "english" and tokenizer.kind == "byte-bpe":
        assert cut < TEXTS / 20
    if kind == "chinese" and tokenizer.kind == "byte-bpe":
        assert cut == len(lengths)


def rows_of(
    tokens, lengths, maskable, masked: Masked, vocabulary: Vocabulary
) -> Iterator[tuple[list[int], list[int]]]:
    """For each sequence (tokens of each word, predicted tokens of each word)."""
    sequences = Sequences(tokens, lengths, maskable, np.arange(len(lengths)))
    words = masking._words(sequences, vocabulary)
    predicted = np.zeros(len(tokens) + 1, np.int64)
    predicted[1 + masked.predicted_M] = 1
    before = np.cumsum(predicted)
    chosen = before[words.starts + words.sizes] - before[words.starts]
    for row in range(len(lengths)):
        own = words.rows == row
        yield words.sizes[own].tolist(), chosen[own].tolist()


def test_no_maskable_token_is_no_prediction():
    vocabulary = Vocabulary(4, 5, 6, np.arange(4), np.array([False, True] * 2 + [False] * 3))
    tokens, lengths = np.array([4, 5, 4, 1, 1, 5]), np.array([2, 4])
    config = MaskingConfig(unit="word")
    for rows in (slice(0, 1), slice(0, 2)):
        part = tokens[: lengths[rows].sum()]
        sequences = Sequences(part, lengths[rows], part < 4, np.arange(2)[rows])
        masked = Masker(config, vocabulary, seed=0).mask(sequences, epoch=0)
        assert len(masked.predicted_M) == (rows.stop - 1)
