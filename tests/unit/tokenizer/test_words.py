"""Words that tokens of every tokenizer show alike."""

from __future__ import annotations

import random

import pytest

from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer
from tokenizer.training import train_tokenizer
from tokenizer.words import words_of

KINDS = ("wordpiece", "byte-bpe", "sentencepiece")
ENGLISH = ["the", "a", "reader's", "U.S.", "don't", "e.g.", "f(x)", "3.14", "café", "x=1", "A-B"]
KOREAN = ["먹었습니다", "학교에서는", "친구들과,", "재미있었어요!", "㈜삼성", "ㅋㅋ"]
MARKS = ["-", "(", ")", ",", "—", "...", "/", "我们", "²"]


def sentence(rng: random.Random) -> str:
    """Words of both languages among punctuation with and without spaces beside it."""
    kinds = [ENGLISH, KOREAN, MARKS]
    chosen = [rng.choice(rng.choices(kinds, [5, 4, 3])[0]) for _ in range(rng.randint(1, 25))]
    return "".join(word + " " * rng.choice([1, 1, 1, 1, 2]) for word in chosen).strip()


SENTENCES = [sentence(random.Random(seed)) for seed in range(400)]


@pytest.fixture(scope="module")
def tokenizers() -> list[Tokenizer]:
    """One of each kind, of a vocabulary that cuts most words into pieces."""
    configs = [
        TokenizerConfig(kind=kind, vocabulary_size=360, allow_smaller_vocabulary=True)
        for kind in KINDS
    ]
    return [train_tokenizer(config, SENTENCES) for config in configs]


def shown(parts: list[bytes]) -> list[str]:
    """The words, as text without white space."""
    return [
        "".join(b"".join(parts[word.first : word.end]).decode().split()) for word in words_of(parts)
    ]


def test_the_words_of_the_documentation():
    text = "Words| (|such| as| these|)| are| seen|,| by| all|."
    parts = [part.encode() for part in text.split("|")]
    assert shown(parts) == ["Words(such", "as", "these)are", "seen,by", "all."]
    assert [word.size for word in words_of(parts)] == [10, 2, 9, 7, 4]


def test_tokenizers_show_the_same_words(tokenizers):
    """SentencePiece writes some characters otherwise (NFKC); where words end it does not decide."""
    for text in SENTENCES:
        alike = [shown([t.token_bytes[i] for i in t.encode_batch([text])[0]]) for t in tokenizers]
        assert alike[0] == alike[1], text
        assert len(alike[2]) == len(alike[1]), text
        assert all(a == b or not a.isascii() or not b.isascii() for a, b in zip(alike[2], alike[1]))


def test_no_token_is_in_two_words_and_none_with_letters_is_in_no_word(tokenizers):
    for tokenizer in tokenizers:
        for ids in tokenizer.encode_batch(SENTENCES):
            parts = [tokenizer.token_bytes[token] for token in ids]
            words = words_of(parts)
            assert all(word.is_whole for word in words)
            inside = [token for word in words for token in range(word.first, word.end)]
            assert len(inside) == len(set(inside))
            assert all(not parts[n].strip() for n in set(range(len(parts))) - set(inside))


def test_the_bytes_of_byte_level_tokens_are_the_text(tokenizers):
    byte_bpe = tokenizers[1]
    for text, ids in zip(SENTENCES, byte_bpe.encode_batch(SENTENCES)):
        assert b"".join(byte_bpe.token_bytes[token] for token in ids) == text.encode()


def test_a_character_over_several_tokens_is_one_character():
    text = "먹 었".encode()
    words = words_of([text[:1], text[1:3], text[3:5], text[5:]])
    assert [(word.first, word.end, word.size) for word in words] == [(0, 2, 3), (2, 4, 3)]


def test_words_that_share_a_token_and_unknown_ones_are_not_whole():
    assert [w.is_whole for w in words_of([b"one two", b" three"])] == [False, False, True]
    assert [w.is_whole for w in words_of([b"one", " \ufffd".encode(), b" two"])] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("parts", [[], [b" "], [b" ", b"\n"]])
def test_white_space_has_no_words(parts):
    assert words_of(parts) == []
