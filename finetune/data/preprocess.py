"""Cleaning of texts: named steps, each a function, in an order of the user's choice.

Every step is idempotent and leaves letters of all scripts alone.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from configs.finetune_schema import PreprocessConfig

MARKS = "".join(
    chr(code) for code in range(0x300, 0xFE00) if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
"""accents and vowel signs that are characters of their own: parts of words, though not \\w"""
LETTER = rf"[\w{MARKS}]"
LINK = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
MENTION = re.compile(rf"(?<!{LETTER})(?:@{LETTER}+)+")
HASHTAG = re.compile(rf"#{LETTER}+")
HASHES = re.compile(rf"(?<={LETTER})#+(?={LETTER})|(?<!#)(?<!{LETTER})(#+)(?={LETTER})")
TRAILING = re.compile(
    rf"(?:(?<!\S)(?:(?:#+{LETTER}+)+|(?:https?://|www\.)\S+(?!\S))[^{LETTER[1:-1]}]*)+$",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
APOSTROPHE = re.compile(rf"(?<={LETTER})['’](?={LETTER})")
PUNCTUATION = re.compile(rf"[^\w\s{MARKS}]|_")
SPACES = re.compile(r"\s+")
NLTK = Path(__file__).with_name("nltk_stop_words.txt")


def unescape_entities(text: str) -> str:
    """&amp; as &, however often it was escaped."""
    while (plain := html.unescape(text)) != text:
        text = plain
    return text


def lowercase(text: str) -> str:
    """Small letters."""
    return text.lower()


def remove_links(text: str) -> str:
    """No http://, https:// or www. addresses."""
    return LINK.sub(" ", text)


def remove_mentions(text: str) -> str:
    """No @names."""
    return MENTION.sub(" ", text)


def remove_hashtags(text: str) -> str:
    """No #words."""
    return HASHTAG.sub(" ", text)


def keep_hashtag_words(text: str) -> str:
    """#word as word, #two#words as two."""
    return HASHES.sub(lambda hashes: "" if hashes[1] else " ", text)


def drop_trailing_hashtags(text: str) -> str:
    """No block of hashtags (and links) at the end; other hashtags as words.

    Inside the sentence a hashtag is one of its words; at the end it is a label for searching.
    """
    while (plain := keep_hashtag_words(TRAILING.sub("", text).rstrip())) != text:
        text = plain
    return text


def remove_numbers(text: str) -> str:
    """No digits."""
    return NUMBER.sub(" ", text)


def remove_punctuation(text: str) -> str:
    """Letters, digits and spaces only; an apostrophe inside a word goes without a gap (dont)."""
    return PUNCTUATION.sub(" ", APOSTROPHE.sub("", text))


def remove_emoji(text: str) -> str:
    """No emoji, sequences of several code points included."""
    import emoji

    return emoji.replace_emoji(text, " ")


def remove_stop_words(text: str, chosen: str = "nltk") -> str:
    """Without the English stop words of a list by name; spaces are repaired on the way.

    A word counts as it stands: where punctuation went before, `don't` is `dont`, which is on no
    list.
    """
    words = stop_words(chosen)
    kept = (word for word in text.split() if word.lower().replace("’", "'") not in words)
    return " ".join(kept)


def join_spaces(text: str) -> str:
    """One space between words, none at the ends."""
    return SPACES.sub(" ", text).strip()


FUNCTIONS = {
    "entities": unescape_entities,
    "lowercase": lowercase,
    "links": remove_links,
    "mentions": remove_mentions,
    "hashtags": remove_hashtags,
    "hashtag-words": keep_hashtag_words,
    "trailing-hashtags": drop_trailing_hashtags,
    "numbers": remove_numbers,
    "punctuation": remove_punctuation,
    "emoji": remove_emoji,
    "stop-words": remove_stop_words,
    "spaces": join_spaces,
}


def steps_of(config: PreprocessConfig) -> list[tuple[str, Callable[[str], str]]]:
    """The steps of a configuration by name, in order."""
    functions = {**FUNCTIONS, "stop-words": partial(remove_stop_words, chosen=config.stop_words)}
    return [(name, functions[name]) for name in config.names]


class Preprocessor:
    """The steps of a configuration, one after the other."""

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config
        self.steps = [step for _, step in steps_of(config)]

    def __call__(self, text: str) -> str:
        for step in self.steps:
            text = step(text)
        return text

    def is_short(self, text: str) -> bool:
        """Whether a text, after the steps, has fewer words than the configuration wants."""
        return len(text.split()) < self.config.minimum_words


@cache
def stop_words(chosen: str) -> frozenset[str]:
    """The list called `nltk`, `scikit-learn` or `none`."""
    if chosen == "scikit-learn":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return ENGLISH_STOP_WORDS
    lines = NLTK.read_text(encoding="utf-8").splitlines() if chosen == "nltk" else ()
    return frozenset(line for line in lines if not line.startswith("#"))
