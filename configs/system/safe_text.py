r"""Text that others wrote, made safe to show: on a terminal, in Markdown, in a spreadsheet.

What a reader cannot see is written as Python would write it: `\n`, `\x1b`, `\u202e`. That goes for
control characters (C0, DEL, C1), bidi controls, line and paragraph separators, zero-width and other
invisible characters, lone surrogates, private and unassigned characters. Letters of every
script, combining marks, emoji and spaces of any width stay; so do U+200C and U+200D between
characters that they join (letters of Indic and Arabic scripts, emoji) and the tags of a flag. A
backslash stays one: what is shown is for eyes, while files hold what was read.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, TextIO

from configs.system.secrets import hide

JOINERS = "\u200c\u200d"
JOINABLE = "\u0590"
"""the first character that a joiner may stand beside: no Latin, Greek or Cyrillic letter"""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""how a cell begins that a spreadsheet may take for a formula; in full width for East Asian ones"""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_FLAG = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,6}\U000e007f)")
_MARKUP = re.compile(
    r"[\\`*\[\]<>|~#@{}$^&]|:(?! |$)|(?<![^\W_])_|_(?![^\W_])|www\.|^\s|\s$|\s\s"
    r"|^(\d+[.)]|[-+])(\s|$)|^[-=]+$",
    re.IGNORECASE,
)
"""what Markdown, or a program that turns addresses into links, may read as more than text"""
_INTERVAL = re.compile(r"(?<=\S )\[[-−+\d.,% ]+\](?![(\[:])")
"""figures in brackets, which are no link"""


class Markup(str):
    """Markdown of our own, in which every part that others wrote is safe already."""


def visible(text: object, lines: bool = False) -> str:
    """The text with everything that cannot be seen written out; one line, unless `lines`. `lines`:
    line feeds and tabs stay."""
    text = str(text)
    if text.isprintable():
        return text
    pieces = _FLAG.split(text)  # every second one is a flag, which stays as it is
    kept = "\n\t" if lines else ""
    pieces[::2] = ["".join(_written_out(piece, kept)) for piece in pieces[::2]]
    return "".join(pieces)


def first_hidden(text: str) -> str | None:
    """How `visible` writes the first character that cannot be seen; None where all can.

    Names of folders, files and fields with such a character are refused wherever they reach a
    script.
    """
    pieces = _FLAG.split(text)
    written = (w for piece in pieces[::2] for c, w in zip(piece, _written_out(piece)) if c != w)
    return next(written, None)


def markdown(text: object, in_table: bool = False) -> str:
    """The text for a line of Markdown: as it is where that is plain, else as code.

    Code alone is read by nobody: no HTML, image, link, formula or address. `Markup` stays.

    Args:
        in_table: for a cell, where a bar would end it.
    """
    if isinstance(text, Markup):
        return text
    line = visible(text)
    if not _MARKUP.search(_INTERVAL.sub("", line)):
        return line
    if in_table:
        line = line.replace("\\|", "\\x5c|").replace("|", "\\|")
    # Code ends at the first run of as many backticks as began it: one more than the text has.
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def json_text(content: object) -> str:
    """JSON for programs and for eyes: every script can be read, and what cannot be seen is escaped.

    It reads back as exactly the same.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    kept = zip(text, _written_out(text, "\n"))
    return "".join(c if c == written else _in_json(c) for c, written in kept)


class Spreadsheet:
    """Makes cells that a spreadsheet takes for text and never for a formula; counts the changed."""

    def __init__(self) -> None:
        self.changed = 0

    def __call__(self, cell: object) -> object:
        """The cell, with an apostrophe in front where it begins as a formula; numbers stay."""
        if not isinstance(cell, str) or not cell.startswith(FORMULA) or _NUMBER.fullmatch(cell):
            return cell
        self.changed += 1
        return f"'{cell}"

    @property
    def note(self) -> str:
        """One line on what was done; empty where nothing was."""
        if not self.changed:
            return ""
        return f"{self.changed:,} cells begin as formulas do and got an apostrophe in front"


class VisibleStream:
    """Standard output or error that shows text as `visible` does, and no secret, whoever writes it.

    Text that its encoding lacks is written out too. A carriage return that begins a write to a
    terminal stays: progress replaces its line.
    """

    def __init__(self, stream: TextIO) -> None:
        """`stream` is written to; where its text is data, it may be used itself."""
        self.stream = stream
        self._codec = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Returns the number of characters that were given."""
        begins = text[:1] if text.startswith("\r") and self.stream.isatty() else ""
        shown = visible(hide(text[len(begins) :]), lines=True)
        self.stream.write(
            begins + shown.encode(self._codec, "backslashreplace").decode(self._codec)
        )
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """`write` for each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (what the stream has)
        return getattr(self.stream, name)


def _written_out(text: str, kept: str = "") -> list[str]:
    """Each character, or how it is written."""
    return [
        c
        if c.isprintable() or c in kept or unicodedata.category(c) == "Zs" or _joins(text, i)
        else ascii(c)[1:-1]
        for i, c in enumerate(text)
    ]


def _in_json(character: str) -> str:
    written = json.dumps(character)[1:-1]
    return written if written != character else f"\\u{ord(character):04x}"


def _joins(text: str, place: int) -> bool:
    """Whether a joiner stands between two characters that it may join."""
    if text[place] not in JOINERS or not 0 < place < len(text) - 1:
        return False
    beside = (text[place - 1], text[place + 1])
    return all(c >= JOINABLE and c.isprintable() for c in beside)
