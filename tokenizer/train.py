"""Learning a vocabulary from text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from configs.errors import InputError
from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer
from tokenizer.byte_bpe import train_byte_bpe
from tokenizer.lost_characters import check_letters, check_unknown, count_characters
from tokenizer.portions import portions
from tokenizer.unigram import train_sentencepiece
from tokenizer.wordpiece import train_wordpiece

LONGEST = 1_000_000
"""characters of a text without a space that a trainer is given at a time"""


def train_tokenizer(
    config: TokenizerConfig, texts: Iterable[str], tell: Callable[[str], object] | None = None
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
    if tell and sum(len(text.encode()) for text in read) >= most:
        tell(f"tokenizer: learnt from the first {config.training_megabytes:,} MB of the text")
    characters = count_characters(read)
    _pass_on(check_letters(config, characters), tell)
    tokenizer = _train(config, read)
    _check_size(config, tokenizer.vocabulary_size)
    _pass_on(check_unknown(tokenizer, characters), tell)
    return tokenizer


def _pass_on(findings: Iterable[str], tell: Callable[[str], object] | None) -> None:
    """Let each be found, which may raise, and told to those who listen."""
    for line in findings:
        if tell:
            tell(line)


def _train(config: TokenizerConfig, texts: list[str]) -> Tokenizer:
    if config.kind == "wordpiece":
        return train_wordpiece(
            texts, config.vocabulary_size, config.lowercase, config.strip_accents
        )
    if config.kind == "byte-bpe":
        return train_byte_bpe(texts, config.vocabulary_size)
    return train_sentencepiece(texts, config.vocabulary_size)


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
