"""English prose out of technical text: docstrings, reStructuredText, Markdown.

Code, doctests, tables, headings, field names and markup go; hard-wrapped paragraphs become one
line; what is left must read like sentences. Rules err on the side of dropping: the text is plenty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pretrain.text.sentences import word_set

FENCED = re.compile(r"^[ \t]*(```|~~~).*?^[ \t]*\1[ \t]*$|<!--.*?-->", re.DOTALL | re.MULTILINE)
PROSE_DIRECTIVE = re.compile(
    r"\.\. (?:note|warning|tip|important|caution|attention|hint|seealso|deprecated|versionadded"
    r"|versionchanged|admonition)::.*"
)
DROPPED_LINE = re.compile(
    r"""
    ([=\-~^"'`\#*+.:_])\1{2,}$      # the rule under or over a heading
    | \#+\ | \||\+[-=]              # a Markdown heading, a row of a table
    | (?:>>>|\.\.\.)(?:\ |$)        # a doctest
    | .*\S\ {3,}\S                  # columns
    """,
    re.VERBOSE,
)
LIST_ITEM = re.compile(
    r"""
    (?: [-*+•–]\ + | (?:\d+|\#|[a-z])[.)]\ +        # a bullet or a number
    | :[\w ]+[^:`]*:\ *                             # :param name:
    | [*\w.]+(?:\ ?\([^()]*\))?:\ +                # name (type):
    | [*\w.]+\ -+\ + )                              # name --
    """,
    re.VERBOSE,
)

MARKUP = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"!\[[^\]]*\](\([^)]*\))?", ""),  # ![image](url)
        (r"\[([^\]]+)\](\([^)]*\)|\[[^\]]*\])", r"\1"),  # [text](url)
        (r"`([^`<]+?)\s*<[^`<>]+>`(__?)?", r"`\1`"),  # `text <target>`_
        (r"(:[\w:+-]+:)?(``?)~?([^`]+)\2(__?\b)?", r"\3"),  # :role:`text`, ``text``, `text`_
        (r"\[[\w#*]+\]_", ""),  # [1]_
        (r"(\*\*|__|\*)(?=\S)([^*]+?)(?<=\S)\1", r"\2"),  # **bold**
        (r"</?\w+[^>]*>", ""),  # <tag>
        (r"\\([*_`])", r"\1"),  # \*
    )
]

MARKUP_SIGNS = frozenset("[`*_<\\")

LICENCE = re.compile(
    r"copyright|licen[cs]e|warrant(?:y|ies)|redistributions|hereby granted|rights reserved",
    re.IGNORECASE,
)
LAST_SENTENCE = re.compile(r".*[.!?][\"')”’]*(?!\S)")
WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
CODE = re.compile(r"[_=/\\<>{}|@^~$%#]|\w\.\w|\(\)|\w\[|[a-z][A-Z]")
FUNCTION_WORDS = word_set(
    """
    a an the this that these those it its they their there he she we you your i of in on at by for
    with from to into as if and or but not no so than then when while where which who what how all
    any each be is are was were been being has have had do does did can could may might must shall
    should will would only also such more most other same between after before
    """
)
SHORTEST = 30


def paragraphs(raw: str) -> Iterator[str]:
    """The paragraphs of `raw` that read like English prose, each unwrapped into one line."""
    for block in _unwrapped(FENCED.sub("", raw)):
        if len(block) < SHORTEST:
            continue
        whole = LAST_SENTENCE.match(_without_markup(block))
        if whole and is_prose(whole[0]):
            yield whole[0]


def is_prose(paragraph: str) -> bool:
    """Whether a line of text reads like English sentences, and is no licence."""
    if len(paragraph) < SHORTEST or not paragraph[0].isupper() or LICENCE.search(paragraph):
        return False
    tokens, words = paragraph.split(), WORD.findall(paragraph)
    letters = sum(map(len, words)) / sum(map(len, tokens))
    common = sum(word.lower() in FUNCTION_WORDS for word in words) / len(tokens)
    if letters < 0.85 or common < 0.2:
        return False
    return sum(map(bool, map(CODE.search, tokens))) < 0.15 * len(tokens)


def _unwrapped(text: str) -> Iterator[str]:
    """Blocks of lines at one indentation, joined; a list item begins a block of its own."""
    block: list[str] = []
    indent, hanging = 0, False
    for depth, content in _kept_lines(text):
        item = LIST_ITEM.match(content)
        if not content or item or not (depth == indent or (hanging and depth > indent)):
            yield " ".join(block)
            block = []
        if content:
            block.append(content[item.end() :] if item else content)
        indent, hanging = depth, bool(item)
    yield " ".join(block)


def _kept_lines(text: str) -> Iterator[tuple[int, str]]:
    """Indentation and content of each line; what is left out becomes a blank line.

    Left out are DROPPED_LINEs, directives, and whatever is indented under `::` or a directive that
    is no note.
    """
    code_under: int | None = None
    for line in text.expandtabs(4).splitlines():
        content = line.strip()
        depth = len(line) - len(line.lstrip())
        if code_under is not None and (not content or depth > code_under):
            continue
        code_under = None
        is_directive = content.startswith(".. ")
        yield depth, "" if is_directive or DROPPED_LINE.match(content) else content
        if content.endswith("::") or is_directive:
            code_under = None if PROSE_DIRECTIVE.match(content) else depth
            yield depth, ""


def _without_markup(block: str) -> str:
    if MARKUP_SIGNS.isdisjoint(block):
        return " ".join(block.split())
    for pattern, replacement in MARKUP:
        block = pattern.sub(replacement, block)
    return " ".join(block.split())
