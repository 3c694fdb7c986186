"""Words of a text as tokens of every tokenizer show them: what is predicted where they compare.

A word ends at white space between two letters, digits or signs. Where punctuation stands beside
white space it does not end: WordPiece takes punctuation apart and forgets on which of its sides
there was a space, so that `an end. A` and `an end . A` have the same tokens. Chinese characters
count as punctuation, as WordPiece puts spaces around them. So

    Words (such as these) are seen, by all.   ->   Words (such | as | these) are | seen, by | all.

and no token of a usual tokenizer is in two words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from tokenizer.base import UNKNOWN

GAP = re.compile(r"\s+")
CHINESE = (
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF)),
    *((0x2A700, 0x2CEAF), (0x2F800, 0x2FA1F)),
)
"""first and last of the blocks that BERT's tokenizer puts spaces around"""


class Word(NamedTuple):
    """A word of some tokens."""

    first: int
    """its first token"""
    end: int
    """the token after its last"""
    size: int
    """UTF-8 bytes, white space not counted"""
    is_whole: bool
    """False where a token of it is unknown, or belongs to another word as well"""


def words_of(parts: Sequence[bytes]) -> list[Word]:
    """The words of a sentence, given as the bytes of each of its tokens (`token_bytes`)."""
    # A byte that is no character stays one character, so that places in text and bytes agree.
    text = b"".join(parts).decode("utf-8", "surrogateescape")
    spans = list(_spans(text))
    sizes = [len(letter.encode("utf-8", "surrogateescape")) for letter in text]
    byte_at = list(accumulate(sizes, initial=0))
    token_at = np.cumsum([0, *map(len, parts)])
    begins, ends = ([byte_at[span[side]] for span in spans] for side in (0, 1))
    # The tokens that a word's bytes touch, found by bisection: tokens and words need not begin
    # together, as tokenizers disagree about which of them a space belongs to.
    firsts = np.searchsorted(token_at[1:], begins, side="right").tolist()
    lasts = np.searchsorted(token_at[:-1], ends, side="left").tolist()
    words = []
    for number, ((a, b), first, end) in enumerate(zip(spans, firsts, lasts)):
        # A token that reaches into the neighbour cannot be masked for one word alone.
        shared = (number > 0 and lasts[number - 1] > first) or (
            number + 1 < len(spans) and firsts[number + 1] < end
        )
        size = sum(n for letter, n in zip(text[a:b], sizes[a:b]) if not letter.isspace())
        words.append(Word(first, end, size, not shared and UNKNOWN not in text[a:b]))
    return words


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each word begins and ends, in characters."""
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    for gap in GAP.finditer(text, begin, end):
        if not (_clings(text[gap.start() - 1], -1) or _clings(text[gap.end()], 0)):
            yield begin, gap.start()
            begin = gap.end()
    if begin < end:
        yield begin, end


@cache
def _clings(letter: str, edge: int) -> bool:
    """Whether a character, beside white space, lets no word end there.

    Args:
        edge: of what NFKC makes of it, the part beside the white space: 0 the first, -1 the last.
    """
    # SentencePiece's rules write `㈜` as three characters, the last of which is punctuation.
    shown = unicodedata.normalize("NFKC", letter) or letter
    return any(map(_is_taken_apart, (letter, shown[edge])))


def _is_taken_apart(letter: str) -> bool:
    """Whether BERT's tokenizer puts spaces around a character, or takes it away."""
    if letter.isascii():
        return not letter.isalnum()
    code = ord(letter)
    if any(first <= code <= last for first, last in CHINESE):
        return True
    return unicodedata.category(letter)[0] in "PMZ"
