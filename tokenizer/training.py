"""Learning a vocabulary from text."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from configs.errors import InputError
from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer, portions
from tokenizer.byte_bpe import train_byte_bpe
from tokenizer.unigram import RESERVED, SPACE, train_sentencepiece
from tokenizer.wordpiece import train_wordpiece

logger = logging.getLogger(__name__)

LONGEST = 1_000_000
"""characters of a text without a space that a trainer is given at a time"""
MOST_LOST = 0.01
"""share of the letters, or characters, of a text; beyond it a tokenizer is refused"""
SHOWN = 5
HANGUL = range(0xAC00, 0xD7A4)


def train_tokenizer(
    config: TokenizerConfig, texts: Iterable[str], tell: Callable[[str], object] = logger.debug
) -> Tokenizer:
    """Train the tokenizer that `config` describes: the same text gives the same tokenizer.

    Args:
        config: its `path` is not looked at.
        texts: sentences or documents; the first `config.training_megabytes` of them are read.
        tell: is given a line for each thing that the tokenizer does not keep of the text.

    Raises:
        InputError: no text, a vocabulary that the text cannot fill or that is too small, or more
            than a hundredth of the text that would be lost.
    """
    most = config.training_megabytes * 1_000_000
    read = list(_first_bytes(texts, most))
    if not read:
        raise InputError("data.sources hold no text to train a tokenizer on: give some text")
    if sum(len(text.encode()) for text in read) >= most:
        tell(f"tokenizer: learnt from the first {config.training_megabytes:,} MB of the text")
    characters = Counter(chain.from_iterable(read))
    for line in check_letters(config, characters):
        tell(line)
    tokenizer = _train(config, read)
    _check_size(config, tokenizer.vocabulary_size)
    for line in check_unknown(tokenizer, characters):
        tell(line)
    return tokenizer


def _train(config: TokenizerConfig, texts: list[str]) -> Tokenizer:
    size = config.vocabulary_size
    if config.kind == "wordpiece":
        return train_wordpiece(texts, size, config.lowercase, config.strip_accents)
    return (train_byte_bpe if config.kind == "byte-bpe" else train_sentencepiece)(texts, size)


def _first_bytes(texts: Iterable[str], most: int) -> Iterator[str]:
    """Texts that hold more than white space, up to the one that reaches `most` bytes; long ones in
    portions."""
    read = 0
    for text in texts:
        if text and not text.isspace():
            for part in portions(text):
                yield from (part[i : i + LONGEST] for i in range(0, len(part), LONGEST))
            read += len(text.encode())
        if read >= most:
            return


def _check_size(config: TokenizerConfig, learnt: int) -> None:
    wanted = config.vocabulary_size
    if learnt > wanted:
        raise InputError(
            f"tokenizer.vocabulary_size={wanted} is too small: a {config.kind} tokenizer of this "
            f"text has at least {learnt} entries: raise it"
        )
    if learnt < wanted and not config.allow_smaller_vocabulary:
        raise InputError(
            f"tokenizer.vocabulary_size={wanted} but the text supports only {learnt} entries: "
            "lower it, give more text, or set tokenizer.allow_smaller_vocabulary=true"
        )


# -- what a tokenizer does not keep of a text, found out before hours are spent ------------------


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
    """Which characters of a text have no piece in a tokenizer that was trained on it, in words;
    raises `InputError`: they are more than `MOST_LOST` of the text."""
    visible = sorted(c for c in characters if not c.isspace())
    unk = tokenizer.special.unk
    encoded = zip(visible, tokenizer.encode_batch(visible))
    unknown = Counter({c: characters[c] for c, ids in encoded if unk in ids})
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
