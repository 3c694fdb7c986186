"""Text to sentences, for English and Korean, by rules.

A line is a paragraph; inside it a sentence ends at `.`, `!`, `?` or an ellipsis, closing quotes and
brackets included, when the next word can begin a sentence and the last one is no abbreviation,
initial or, in Korean, date. Capitals decide only in texts that have them: in one of small letters
alone (or capitals alone) any word may begin a sentence. Nothing is lost: the sentences
joined by single spaces are the text with its whitespace folded, and a space after a full stop of
Chinese or Japanese, which has none.

Written by hand because no library fits: pysbd splits 0.2 MB/s; it, syntok and blingfire have had no
release since 2022; kss brings a dozen dependencies; sentencex, fast and alive, keeps a quoted
speech of ten sentences in one piece and panics on a no-break space after an initial. This splits
10 to 25 MB/s on one core.
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase

RULES_VERSION = 2
"""part of every store's identity: raise it with each change of the rules"""

END = re.compile(
    r"""
    (?P<stop> [.!?…。！？｡।॥۔؟።။៕]+ )
    (?P<close> ["'”’」』)\]»]* )
    (?: [ ] | (?<= [。！？｡] ) )
    (?= ["'“‘「『(\[«*_¿¡]* (?P<next> [^\s"'“‘「『(\[«*_¿¡]\w* )? )
    """,
    re.VERBOSE,
)
CASED = 0.01
"""least share of capitals, and of small letters, in a text whose case means something"""


def word_set(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


TITLES = word_set(
    "Mr Mrs Ms Dr Prof St Rev Hon Gen Col Lt Sgt Capt Cmdr Adm Maj Gov Sen Rep Messrs Mme Mt"
)
"""abbreviations before a name"""
PLAIN_TITLES = frozenset(map(str.lower, TITLES))

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

PLAIN_STARTERS = word_set("although he however it she the these they this though thus we you")
"""those that begin a sentence more often than they continue one, where case means nothing"""

KOREAN_QUOTATION = re.compile(r"이?라(?:고|며|면서|는|던)|고\b|하(?:고|며|는|던|자|였)|했|한다")
"""what carries on after a quotation: "갔다." 라고 말했다"""

CASED_LETTERS = re.compile(
    "[\u00c0-\u058f\u10a0-\u10ff\u13a0-\u13ff\u1c80-\u1cbf\u1d00-\u1fff\u2c00-\u2dff\ua640-\uabbf"
    "\uff21-\uff5a]"
)
"""beyond ASCII: the blocks of Latin, Greek, Cyrillic, Armenian, Georgian, Coptic, Cherokee"""
ASCII_LETTERS = (ascii_lowercase.encode(), ascii_uppercase.encode())
QUOTES = frozenset("\"'”’」』")


def split_sentences(text: str, language: str) -> list[str]:
    """Cut a document, paragraphs one a line, into sentences by the rules of "en" or "ko".

    The sentences are without surrounding or repeated whitespace, and none is empty.
    """
    sentences: list[str] = []
    cased = _is_cased(text)
    for line in text.split("\n"):
        paragraph = " ".join(line.split())
        if paragraph:
            sentences += _split_paragraph(paragraph, language, cased)
    return sentences


def _is_cased(text: str) -> bool:
    """Whether a text has both capitals and small letters, or no letters that have a case."""
    content = text.encode("utf-8", "surrogatepass")
    small, capital = (len(content) - len(content.translate(None, kind)) for kind in ASCII_LETTERS)
    if not text.isascii():
        others = CASED_LETTERS.findall(text)
        small += sum(map(str.islower, others))
        capital += sum(map(str.isupper, others))
    return min(small, capital) >= CASED * (small + capital)


def _split_paragraph(paragraph: str, language: str, cased: bool) -> list[str]:
    sentences, start = [], 0
    for match in END.finditer(paragraph):
        if _is_boundary(paragraph, start, match, language, cased):
            sentences.append(paragraph[start : match.end()].rstrip())
            start = match.end()
    sentences.append(paragraph[start:])
    return sentences


def _is_boundary(
    paragraph: str, start: int, match: re.Match[str], language: str, cased: bool
) -> bool:
    following, close, stop = match["next"] or "", match["close"], match["stop"]
    if not following[:1].isalnum() or (following[:1].islower() and not _may_start(match, cased)):
        return False
    if paragraph[match.end() - 1] != " " and close:
        return False
    if language == "ko" and QUOTES.intersection(close) and KOREAN_QUOTATION.match(following):
        return False
    if stop != "." or close:
        return True
    word_start = max(start, paragraph.rfind(" ", start, match.start()) + 1)
    word = paragraph[word_start : match.start()].lstrip("\"'“‘「『([")
    if word.isdigit():
        # "1. Install it" and "2009. 4. 29": the number of a list, a Korean date
        return language == "en" and word_start > start
    return _ends_sentence(word, following, cased)


def _may_start(match: re.Match[str], cased: bool) -> bool:
    """Whether a word of small letters may begin a sentence.

    In '"is that so?" she asked' and 'well... then go' it continues one.
    """
    if cased or match["stop"].startswith(("..", "…")):
        return False
    return match["stop"] == "." or not match["close"]


def _ends_sentence(word: str, following: str, cased: bool) -> bool:
    """Whether a full stop after `word`, with `following` next, ends the sentence."""
    folded = word.lower()
    if (word in TITLES) if cased else (folded in PLAIN_TITLES):
        return False
    if folded in LINKS or (folded in REFERENCES and following[0].isdigit()):
        return False
    starts = following in STARTERS if cased else following.lower() in PLAIN_STARTERS
    return starts or not (folded in CLOSERS or ACRONYM.fullmatch(word if cased else word.upper()))
