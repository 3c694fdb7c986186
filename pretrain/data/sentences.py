"""Text to sentences, for English and Korean, by rules.

A line is a paragraph; inside it a sentence ends at `.`, `!`, `?` or an ellipsis, closing quotes and
brackets included, when the next word can begin a sentence and the last one is no abbreviation,
initial or, in Korean, date. Nothing is lost: the sentences joined by single spaces are the text
with its whitespace folded.

Written by hand because no library fits: pysbd splits 0.2 MB/s; it, syntok and blingfire have had no
release since 2022; kss brings a dozen dependencies; sentencex, fast and alive, keeps a quoted
speech of ten sentences in one piece and panics on a no-break space after an initial. This splits
10 to 25 MB/s on one core.
"""

from __future__ import annotations

import re

RULES_VERSION = 1
"""part of every store's identity: raise it with each change of the rules"""

END = re.compile(
    r"""
    (?P<stop> [.!?…。！？]+ )
    (?P<close> ["'”’」』)\]»]* )
    [ ]
    (?= ["'“‘「『(\[«*_]* (?P<next> [^\s"'“‘「『(\[«*_]\w* )? )
    """,
    re.VERBOSE,
)


def word_set(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


TITLES = word_set(
    "Mr Mrs Ms Dr Prof St Rev Hon Gen Col Lt Sgt Capt Cmdr Adm Maj Gov Sen Rep Messrs Mme Mt"
)
"""abbreviations before a name"""

LINKS = word_set("vs cf ca approx viz e.g i.e eg ie")
"""abbreviations in the middle of a sentence"""

REFERENCES = word_set(
    """
    no nos fig figs eq eqs sec sect ch chap vol vols p pp art v
    jan feb mar apr jun jul aug sep sept oct nov dec
    """
)
"""abbreviations before a number"""

CLOSERS = word_set("etc inc ltd co corp jr sr bros dept al")
"""abbreviations that end a sentence only before a word of STARTERS, as initials and acronyms do"""

ACRONYM = re.compile(r"[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]")

STARTERS = word_set(
    """
    A After Although An And As At Because But By During For From He Her Here His However I If In It
    Its Many More Most My No On One Our She Since So Some That The Their Then There These They This
    Those Though Thus To Under Until We What When Where While Who With You Your
    """
)

KOREAN_QUOTATION = re.compile(r"이?라(?:고|며|면서|는|던)|고\b|하(?:고|며|는|던|자|였)|했|한다")
"""what carries on after a quotation: "갔다." 라고 말했다"""

QUOTES = frozenset("\"'”’」』")


def split_sentences(text: str, language: str) -> list[str]:
    """Cut a document into sentences.

    Args:
        text: paragraphs, one a line.
        language: "en" or "ko".
    Returns:
        sentences without surrounding or repeated whitespace, none of them empty.
    """
    sentences: list[str] = []
    for line in text.split("\n"):
        paragraph = " ".join(line.split())
        if paragraph:
            sentences += _split_paragraph(paragraph, language)
    return sentences


def _split_paragraph(paragraph: str, language: str) -> list[str]:
    sentences, start = [], 0
    for match in END.finditer(paragraph):
        if _is_boundary(paragraph, start, match, language):
            sentences.append(paragraph[start : match.end() - 1])
            start = match.end()
    sentences.append(paragraph[start:])
    return sentences


def _is_boundary(paragraph: str, start: int, match: re.Match[str], language: str) -> bool:
    following, close = match["next"] or "", match["close"]
    if following[:1].islower() or not following[:1].isalnum():
        return False
    if language == "ko" and QUOTES.intersection(close) and KOREAN_QUOTATION.match(following):
        return False
    if match["stop"] != "." or close:
        return True
    word_start = max(start, paragraph.rfind(" ", start, match.start()) + 1)
    word = paragraph[word_start : match.start()].lstrip("\"'“‘「『([")
    if word.isdigit():
        # "1. Install it" and "2009. 4. 29": the number of a list, a Korean date
        return language == "en" and word_start > start
    return _ends_sentence(word, following)


def _ends_sentence(word: str, following: str) -> bool:
    """Whether a full stop after `word`, with `following` next, ends the sentence."""
    folded = word.lower()
    if word in TITLES or folded in LINKS or (folded in REFERENCES and following[0].isdigit()):
        return False
    return following in STARTERS or not (folded in CLOSERS or ACRONYM.fullmatch(word))
