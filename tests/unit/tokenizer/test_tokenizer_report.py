"""The report's figures, counted by hand on small texts."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from tokenizer.tokenizer_report import tokenizer_report
from tokenizer.wordpiece import WordPiece

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", ".", "dog"]


@pytest.fixture
def tokenizer() -> WordPiece:
    return WordPiece(PIECES, lowercase=True)


def test_counts(tokenizer: WordPiece) -> None:
    # the | cat ##s | .    and    the | [UNK]
    result = tokenizer_report(tokenizer, ["The cats.", "the été"])
    assert (result.texts, result.words, result.tokens) == (2, 4, 6)
    assert result.tokens_per_word == pytest.approx(6 / 4)
    assert result.tokens_per_character == pytest.approx(6 / 16)
    assert result.bytes_per_token == pytest.approx(18 / 6)
    assert result.unknown == pytest.approx(1 / 6)
    assert result.unused == pytest.approx(1 / 5)


def test_round_trips(tokenizer: WordPiece) -> None:
    # as it is; but for case and space; not at all
    result = tokenizer_report(tokenizer, ["the cats.", "The  Cats .", "the bird", "dog"])
    assert result.round_trip == pytest.approx(2 / 4)
    assert result.normalized_round_trip == pytest.approx(3 / 4)


def test_text(tokenizer: WordPiece) -> None:
    text = str(tokenizer_report(tokenizer, ["the cats."]))
    assert "wordpiece, 10 entries" in text
    assert "2.000 tokens a word" in text


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_no_words(tokenizer: WordPiece, texts: list[str]) -> None:
    with pytest.raises(InputError, match="needs text"):
        tokenizer_report(tokenizer, texts)
