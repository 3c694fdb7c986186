"""Cleaning of texts: named steps, each a function, in an order of the user's choice.

Every step is idempotent and leaves letters of all scripts alone.
"""

from __future__ import annotations

import html.entities
import re
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from itertools import groupby
from pathlib import Path

from configs.task_schema import PreprocessConfig


def _marks() -> str:
    """Accents and vowel signs that are characters of their own, as ranges of a character class."""
    codes = [
        code
        for code in range(0x300, 0x1F000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F
    ]
    # Consecutive codes share their distance to their place in the list.
    runs = groupby(enumerate(codes), key=lambda pair: pair[1] - pair[0])
    ranges = [[code for _, code in run] for _, run in runs]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ranges)


MARKS = _marks()
"""parts of words, though not \\w"""
IN_WORDS = rf"\w{MARKS}"
LETTER = f"[{IN_WORDS}]"
LATIN = "0-9A-Za-z_\u00c0-\u024f\u0300-\u036f"
"""what follows the name in an e-mail address; before it no handle ends (twitter-text's rule)"""
HANDLE = rf"[@\uff20][0-9A-Za-z_]{{1,30}}(?![{LATIN}])"
MENTION = re.compile(rf"(?<![{LATIN}])(?:{HANDLE})+")
"""@names: ASCII letters, digits and _, up to the 30 of Instagram; no part of an e-mail's address"""
IN_LINKS = r"[0-9A-Za-z\-._~:/?#@!$&'*+,;=%]"
BRACKETS = rf"\({IN_LINKS}*\)|\[{IN_LINKS}*\]"
HOST = rf"(?!\w(?<=[\0-\x7f])){LETTER}+(?:[.-]{LETTER}+)*"
"""a host's name in letters beyond ASCII"""
ADDRESS = rf"(?:{IN_LINKS}|\u2026/|{BRACKETS})*(?:[0-9A-Za-z\-_~/#@$&*+=%]|{BRACKETS})"
LINK = re.compile(rf"https?://(?:{HOST})?(?:{ADDRESS})?|(?<![0-9A-Za-z_])www\.{ADDRESS}", re.I)
"""RFC 3986 has ASCII in addresses only; what ends a sentence, or closes a bracket that was opened
before the address, is not of it (as in Gruber's pattern)"""
TAG = rf"(?:[#\uff03]+{LETTER}+)+"
HASHTAG = re.compile(rf"(?<![&{IN_WORDS}])(?:[#\uff03](?!\d+(?!{LETTER})){LETTER}+)+")
"""#1 is a number, and c#d a word"""
HASHES = re.compile(
    rf"(?<={LETTER})[#\uff03]+(?={LETTER})|(?<![#\uff03&])(?<!{LETTER})([#\uff03]+)(?={LETTER})"
)
LABEL = re.compile(rf"(?:{LINK.pattern})|{TAG}", re.I)
ANY_LETTER = re.compile(LETTER)
ENTITY = re.compile(
    r"&(?:#[0-9]+|#[xX][0-9A-Fa-f]+|[A-Za-z][0-9A-Za-z]*);|&(?:amp|lt|gt)(?![0-9a-z=;])"
)
"""the last three as tweets that were cut have them"""
KEYCAP = "\ufe0f?\u20e3"
DIGITS = rf"(?:\d(?!{KEYCAP}))+"
NUMBER = re.compile(rf"{DIGITS}(?:[.,]{DIGITS})*")
"""not the digits of keycap emoji"""
APOSTROPHE = re.compile(rf"(?<={LETTER})['\u2018\u2019\uff07\u05f3\u05f4](?={LETTER})")
INVISIBLE = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""soft hyphens and marks of direction: no gap where they are taken out"""
JOINER = rf"(?<={LETTER})(?<!_)[\u200c\u200d](?!_)(?={LETTER})"
"""between letters, as Persian and the scripts of India need them; elsewhere they join emoji"""
PUNCTUATION = re.compile(rf"(?!{JOINER})[^\s{IN_WORDS}]|_")
SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~\u00b7\u2010-\u2027\u3001\u3002\uff01-\uff0f]+")
TEXT_SYMBOLS = frozenset("©®™ℹⓂ㊗㊙‼⁉〰〽↔↕↖↗↘↙↩↪⤴⤵")
"""emoji only where U+FE0F follows: signs of text that the standard lists among emoji"""
UNSPACED = re.compile(
    "[\u0e01-\u0e30\u0e40-\u0e46\u0e81-\u0eb0\u0ec0-\u0ec6\u0f40-\u0f6c\u1000-\u102a\u1780-\u17b3"
    "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U00020000-\U0003ffff]"
)
"""letters of scripts without spaces: Thai, Lao, Tibetan, Burmese, Khmer, kana, Chinese"""
NLTK = Path(__file__).with_name("nltk_stop_words.txt")


def unescape_entities(text: str) -> str:
    """&amp; as &, however often it was escaped; &copy=1 in an address is no entity."""
    while (plain := ENTITY.sub(_character, text)) != text:
        text = plain
    return text


def _character(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    is_known = name[0] == "#" or name in html.entities.html5  # "amp;", and "amp" as well
    # Numbers that stand for no character are left as they are.
    return (html.unescape(entity[0]) or entity[0]) if is_known else entity[0]


def keep_hashtag_words(text: str) -> str:
    """#word as word, #two#words as two."""
    return HASHES.sub(lambda hashes: "" if hashes[1] else " ", text)


def drop_trailing_hashtags(text: str) -> str:
    """No block of hashtags (and links) at the end; other hashtags as words.

    Inside the sentence a hashtag is one of its words; at the end it is a label for searching.
    Punctuation goes with the block, emoji stay.
    """
    while (plain := keep_hashtag_words(_without_labels(text).rstrip())) != text:
        text = plain
    return text


def _without_labels(text: str) -> str:
    """The text up to its last block of hashtags and links; what else stood there is kept."""
    labels = list(LABEL.finditer(text))
    start, kept = len(text), ""
    while labels:
        label = labels.pop()
        gap = text[label.end() : start]
        # A label that sticks to a word, or has a word behind it, is part of the sentence.
        is_free = not label.start() or text[label.start() - 1].isspace()
        if not is_free or ANY_LETTER.search(gap):
            break
        start, kept = label.start(), SEPARATORS.sub("", gap) + kept
    return text[:start] + kept


def remove_punctuation(text: str) -> str:
    """Letters, digits and spaces only; an apostrophe inside a word goes without a gap (dont)."""
    return PUNCTUATION.sub(" ", APOSTROPHE.sub("", INVISIBLE.sub("", text)))


def remove_emoji(text: str) -> str:
    """No emoji, sequences of several code points included; signs such as © are text."""
    from emoji import replace_emoji

    # A joiner with nothing to join makes the library leave an emoji for the next time.
    while (plain := replace_emoji(text, lambda s, _: s if s in TEXT_SYMBOLS else " ")) != text:
        text = plain
    return text


def remove_stop_words(text: str, chosen: str = "nltk") -> str:
    """Without the English stop words of a list by name; spaces are repaired on the way.

    A word counts as it stands: where punctuation went before, `don't` is `dont`, which is on no
    list.
    """
    words = stop_words(chosen)
    kept = (word for word in text.split() if word.lower().replace("’", "'") not in words)
    return " ".join(kept)


FUNCTIONS: dict[str, Callable[[str], str]] = {
    "entities": unescape_entities,
    "lowercase": str.lower,
    "links": partial(LINK.sub, " "),
    "mentions": partial(MENTION.sub, " "),
    "hashtags": partial(HASHTAG.sub, " "),
    "hashtag-words": keep_hashtag_words,
    "trailing-hashtags": drop_trailing_hashtags,
    "numbers": partial(NUMBER.sub, " "),
    "punctuation": remove_punctuation,
    "emoji": remove_emoji,
    "stop-words": remove_stop_words,
    "spaces": lambda text: " ".join(text.split()),
}


def steps_of(config: PreprocessConfig) -> list[tuple[str, Callable[[str], str]]]:
    """The steps of a configuration by name, in order."""
    stop_words_of_task = partial(remove_stop_words, chosen=config.stop_words)
    functions = FUNCTIONS | {"stop-words": stop_words_of_task}
    return [(name, functions[name]) for name in config.names]


class Preprocessor:
    """The steps of a configuration, one after the other."""

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config
        self.steps = [step for _, step in steps_of(config)]

    def __call__(self, text: str) -> str:
        """The text after all steps."""
        for step in self.steps:
            text = step(text)
        return text

    def is_short(self, text: str) -> bool:
        """Whether a text, after the steps, has fewer words than the configuration wants."""
        return count_words(text) < self.config.minimum_words


def count_words(text: str) -> int:
    """Words between spaces; in scripts without spaces each letter counts as one."""
    total = 0
    for word in text.split():
        rest, letters = UNSPACED.subn("", word)
        if not letters:
            total += 1
        elif any(map(str.isalnum, rest)):
            total += letters + 1  # letters of spaced scripts between them are one word together
        else:
            total += letters
    return total


@cache
def stop_words(chosen: str) -> frozenset[str]:
    """The list called `nltk`, `scikit-learn` or `none`."""
    if chosen == "scikit-learn":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS)
    lines = NLTK.read_text(encoding="utf-8").splitlines() if chosen == "nltk" else ()
    return frozenset(line for line in lines if not line.startswith("#"))
