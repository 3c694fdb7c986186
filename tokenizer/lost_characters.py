"""What a tokenizer does not keep of a text: found out before hours are spent on what it makes."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

from configs.errors import InputError
from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer
from tokenizer.unigram import RESERVED, SPACE

MOST_LOST = 0.01
"""share of the letters, or characters, of a text; beyond it a tokenizer is refused"""
SHOWN = 5
HANGUL = range(0xAC00, 0xD7A4)


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """How often each character occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return counts


def check_letters(config: TokenizerConfig, characters: Counter[str]) -> Iterator[str]:
    """What a tokenizer of this configuration changes in a text of these characters, in words.

    Raises:
        InputError: it would take the syllables of a Korean text apart, which nobody asked for.
    """
    if config.kind == "sentencepiece":
        yield from _signs(characters)
    strips = config.lowercase if config.strip_accents is None else config.strip_accents
    if config.kind != "wordpiece" or not strips:
        return
    letters = sum(n for c, n in characters.items() if _is_letter(c))
    changed = Counter({c: n for c, n in characters.items() if _is_letter(c) and _loses(c)})
    syllables = sum(n for c, n in changed.items() if ord(c) in HANGUL)
    if syllables > MOST_LOST * letters:
        said = (
            f"stripping accents, as BERT's lower-casing does, takes Hangul apart into jamo: "
            f"{syllables / letters:.1%} of the letters of this text"
        )
        if config.strip_accents is None:
            raise InputError(
                f"tokenizer.lowercase=true: {said}: set tokenizer.strip_accents=false, which "
                "keeps syllables and accents (true does it nevertheless)"
            )
        yield f"tokenizer.strip_accents=true: {said}"
    elif changed.total() > MOST_LOST * letters:
        yield (
            f"tokenizer: {changed.total() / letters:.1%} of the letters lose an accent or a sign "
            f"({_some(changed)}), as BERT's lower-casing has it: tokenizer.strip_accents=false "
            "keeps them"
        )


def check_unknown(tokenizer: Tokenizer, characters: Counter[str]) -> Iterator[str]:
    """Which characters of a text have no piece in a tokenizer that was trained on it, in words.

    Raises:
        InputError: they are more than `MOST_LOST` of the text.
    """
    visible = sorted(c for c in characters if not c.isspace())
    unk = tokenizer.special.unk
    found = zip(visible, tokenizer.encode_batch(visible))
    unknown = Counter({c: characters[c] for c, ids in found if unk in ids})
    if not unknown:
        return
    share = unknown.total() / sum(characters[c] for c in visible)
    said = (
        f"{len(unknown):,} kinds of characters have no piece ({_some(unknown)}), {share:.3%} of "
        f"the text: they read as {tokenizer.pieces[unk]}"
    )
    if share > MOST_LOST:
        raise InputError(f"tokenizer: {said}: raise tokenizer.vocabulary_size, or use byte-bpe")
    yield f"tokenizer: {said}"


def _signs(characters: Counter[str]) -> Iterator[str]:
    """What SentencePiece makes of the two characters that it uses itself."""
    if count := characters[RESERVED]:
        yield (
            f"tokenizer: {count:,} times {RESERVED} (U+2585), which SentencePiece keeps for "
            "itself: there is no piece for it, and training reads a space"
        )
    if count := characters[SPACE]:
        yield f"tokenizer: {count:,} times {SPACE} (U+2581), which SentencePiece reads as a space"


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def _loses(character: str) -> bool:
    """Whether BERT's stripping of accents (NFD without nonspacing marks) changes a character."""
    parts = unicodedata.normalize("NFD", character)
    return "".join(c for c in parts if unicodedata.category(c) != "Mn") != character


def _some(characters: Counter[str]) -> str:
    common = sorted(characters, key=lambda c: (-characters[c], c))
    return " ".join(common[:SHOWN]) + (" ..." if len(common) > SHOWN else "")
