"""How well a tokenizer fits a text."""

from __future__ import annotations

from dataclasses import dataclass
from operator import eq
from statistics import fmean

import numpy as np

from configs.errors import InputError
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class TokenizerReport:
    """Counts and shares over a list of texts; a word is what white space surrounds."""

    kind: str
    vocabulary_size: int
    texts: int
    words: int
    tokens: int
    tokens_per_word: float
    """fertility (Rust et al., 2021, section 3.2)"""
    tokens_per_character: float
    bytes_per_token: float
    """UTF-8"""
    unknown: float
    """share of tokens that are the unknown token"""
    round_trip: float
    """share of texts that decode to themselves"""
    normalized_round_trip: float
    """share of texts that decode to themselves but for what the tokenizer normalises away"""
    unused: float
    """share of ordinary entries that occur in none of the texts"""

    def __str__(self) -> str:
        return "\n".join(
            (
                f"tokenizer   {self.kind}, {self.vocabulary_size:,} entries; on {self.texts:,} "
                f"texts, {self.words:,} words, {self.tokens:,} tokens",
                f"fertility   {self.tokens_per_word:.3f} tokens a word, "
                f"{self.tokens_per_character:.3f} a character; "
                f"{self.bytes_per_token:.2f} bytes a token",
                f"unknown     {self.unknown:.4%} of tokens; {self.unused:.1%} of entries unused",
                f"round trip  {self.round_trip:.2%} of texts exactly, "
                f"{self.normalized_round_trip:.2%} after normalisation",
            )
        )


def tokenizer_report(tokenizer: Tokenizer, texts: list[str]) -> TokenizerReport:
    """Measure `tokenizer` on `texts`; raises `InputError` if they hold no word."""
    encoded = tokenizer.encode_batch(texts)
    words, tokens = sum(len(text.split()) for text in texts), sum(map(len, encoded))
    if not words or not tokens:
        raise InputError("a tokenizer report needs text: none of the given texts holds a word")
    decoded = [tokenizer.decode(ids) for ids in encoded]
    counts = np.bincount(np.concatenate(encoded).astype(int), minlength=tokenizer.vocabulary_size)
    ordinary = np.delete(counts, tokenizer.special.ids)
    return TokenizerReport(
        kind=tokenizer.kind,
        vocabulary_size=tokenizer.vocabulary_size,
        texts=len(texts),
        words=words,
        tokens=tokens,
        tokens_per_word=tokens / words,
        tokens_per_character=tokens / sum(map(len, texts)),
        bytes_per_token=sum(len(text.encode()) for text in texts) / tokens,
        unknown=float(counts[tokenizer.special.unk] / tokens),
        round_trip=fmean(map(eq, decoded, texts)),
        normalized_round_trip=fmean(map(eq, decoded, map(tokenizer.normalize, texts))),
        unused=float((ordinary == 0).mean()),
    )
