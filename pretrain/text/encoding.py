"""Bytes to text, by one rule for every file and stream that a person hands in.

Text is UTF-8 unless the user names another encoding; a byte order mark in the file outranks both,
as in browsers. Bytes that are no character of the encoding are never guessed at: they become
U+FFFD and are counted row by row, and past a share of the rows the file is refused, with the
encoding that a detector proposes.

On the way from a file to its rows such a byte is kept as a mark, the lone surrogate U+DC00 + byte
(the idea of PEP 383), which no decoder yields and no parser of csv or JSON trips over. So a
U+FFFD of the file's own differs from one of ours, and the marks of a row give back its bytes.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO, TextIOWrapper
from math import ceil
from typing import BinaryIO, TextIO

from configs.errors import InputError

MARKS = "masklab.marks"
REPLACEMENT = "\ufffd"
ODD = re.compile("[\udc00-\udcff]+|\0+|[\ud800-\udbff\udd00-\udfff]+")
"""runs of one kind: marks, NUL characters, lone surrogates from JSON escapes (\\ud83d)"""
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which begins alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
C1 = range(0x80, 0xA0)
WINDOWS = {code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in C1}
"""U+0080 to U+009F to what Windows-1252 has in their place"""
SAMPLE = 1 << 16
"""characters of bad rows that are shown to the detector"""
ENOUGH = 100
"""rows after which a stream may be refused"""
SURELY = 8
"""characters beyond ASCII in a file that reads as UTF-8 by chance: fewer"""


@dataclass(frozen=True)
class Encoding:
    """What the user says about bytes, and what reading them changed."""

    name: str | None = None
    """as Python's codecs call it; None: UTF-8"""
    most_bad: float = 0.01
    """share of rows with bytes that are no characters, beyond which a file is refused"""
    repairs: bool = True
    """whether, in tables and lines of text, C1 control characters become the Windows-1252
    characters they were meant as"""
    fields: tuple[str, str] = ("task.encoding=", "task.most_bad_rows=")
    """how the user sets `name` and `most_bad`"""
    notes: list[str] = field(default_factory=list, compare=False)
    """what a reader of the results should know, of every file that was read"""

    def decoder(self, where: str, unit: str = "row", repairs: bool = False) -> Decoder:
        """A decoder for one file or stream that is called `where` in messages."""
        return Decoder(where, self, unit, repairs)


class Decoder:
    """One file's bytes to text, and then its rows to rows without marks."""

    def __init__(self, where: str, encoding: Encoding, unit: str, repairs: bool) -> None:
        self.where, self.unit, self.encoding, self.repairs = where, unit, encoding, repairs
        self.codec = encoding.name or "utf-8"
        self.rows = self.bad = 0
        self.kinds: Counter[str] = Counter()
        """rows by what is odd in them: bytes, cut, halves, nul, repaired"""
        self._first = ""
        self._sample: list[str] = []

    @property
    def shown(self) -> str:
        """The encoding's name for people."""
        return self.codec.upper().replace("-SIG", "") if "utf" in self.codec else self.codec

    def text(self, content: bytes) -> str:
        """All of a file, marks in it; `InputError` for an encoding that it cannot be in."""
        stream = self.open(BytesIO(content))
        self.check_told(BytesIO(content))
        try:
            return stream.read()
        except UnicodeError as error:
            raise InputError(f"{self.where}: cannot be read as {self.codec} ({error})") from error

    def open(self, stream: BinaryIO) -> TextIO:
        """A stream's text as it comes, marks in it; only `\\n` ends a line."""
        buffered = stream
        if not isinstance(buffered, BufferedReader):
            buffered = BufferedReader(stream)  # type: ignore[type-var]  # any stream of bytes will do
        head = buffered.peek(4)
        if marked := next((name for bom, name in BOMS if head.startswith(bom)), None):
            told, self.codec = self.codec, marked
            if not codecs.lookup(told).name.startswith(marked.removesuffix("-sig")):
                named = f", not as {self.encoding.fields[0]}{told}" if self.encoding.name else ""
                self._note(f"read as {self.shown}, as its byte order mark says{named}")
        if self._is_utf8() and (wide := _wide(head)):
            raise InputError(
                f"{self.where}: {wide} without a byte order mark: set "
                f"{self.encoding.fields[0]}{wide}"
            )
        return TextIOWrapper(buffered, encoding=self.codec, errors=MARKS, newline="\n")

    def check_told(self, stream: BinaryIO) -> None:
        """Raise `InputError` for UTF-8 that the user calls something else: it would read as well,
        as other characters."""
        if self.encoding.name and not self._is_utf8() and is_surely_utf8(stream):
            raise InputError(
                f"{self.where}: this file is UTF-8, not {self.codec}: convert it, or leave "
                f"{self.encoding.fields[0].strip('= ')} away where all files are UTF-8"
            )

    def plain(self, texts: Sequence[str]) -> list[str]:
        """The texts of the next row without marks; what was odd in them is counted."""
        self.rows += 1
        kinds: set[str] = set()
        plain = [self._plain(text, kinds) for text in texts]
        self.kinds.update(kinds)
        if kinds - {"repaired"}:
            self.bad += 1
            self._remember(texts, f"{self.unit} {self.rows:,}")
        return plain

    def names(self, names: Sequence[str]) -> list[str]:
        """A table's columns without marks: in a name none are let pass, for it is asked for."""
        kinds: set[str] = set()
        plain = [self._plain(name, kinds) for name in names]
        if kinds - {"repaired"} and self.encoding.most_bad < 1:
            self.kinds.update(kinds)
            self._remember(names, "the header")
            raise InputError(f"{self.where}: names of columns {self._what()}: {self._cure(1.0)}")
        return plain

    def check(self) -> None:
        """Raise `InputError` where more rows are bad than the user lets pass."""
        if self.bad > self.encoding.most_bad * self.rows:
            raise InputError(
                f"{self.where}: {self.bad:,} of {self.rows:,} {self.unit}s {self._what()}: "
                f"{self._cure(self.bad / self.rows)}"
            )

    def check_early(self) -> None:
        """`check`, of a stream, as soon as there are rows enough to judge by."""
        if self.rows >= ENOUGH:
            self.check()

    def finish(self) -> None:
        """After the last row: `check`, and leave notes on what was changed."""
        self.check()
        for kind, words in WORDS.items():
            if count := self.kinds[kind]:
                what = words.format(encoding=self.shown)
                self._note(f"{count:,} of {self.rows:,} {self.unit}s {what}")

    def blame(self, text: str, error: InputError) -> InputError:
        """The reason why `text` cannot be parsed: `error`, or that it is in another encoding."""
        lines = text.split("\n")
        marked = [line for line in lines if ODD.search(line)]
        if len(marked) <= self.encoding.most_bad * len(lines):
            return error
        self.rows, self.bad, self.unit = len(lines), len(marked), "line"
        self.kinds.clear()
        for line in marked:
            kinds: set[str] = set()
            self._plain(line, kinds)
            self.kinds.update(kinds)
        self._first, self._sample = "", []
        self._remember(marked, f"line {lines.index(marked[0]) + 1:,}")
        try:
            self.check()
        except InputError as better:
            return better
        return error

    def _is_utf8(self) -> bool:
        return codecs.lookup(self.codec).name.startswith("utf-8")

    def _note(self, text: str) -> None:
        self.encoding.notes.append(f"{self.where.rpartition('/')[2]}: {text}")

    def _plain(self, text: str, kinds: set[str]) -> str:
        if text.isascii() and "\0" not in text:
            return text
        if ODD.search(text):
            text = ODD.sub(lambda run: self._shown(run, kinds), text)
        if self.repairs and (repaired := text.translate(WINDOWS)) != text:
            kinds.add("repaired")
            return repaired
        return text

    def _shown(self, run: re.Match[str], kinds: set[str]) -> str:
        """U+FFFD for each ill-formed sequence of a run, as Python's own "replace" has them."""
        odd = run[0]
        if "\0" in odd:
            kinds.add("nul")
        elif not "\udc00" <= odd[0] <= "\udcff":
            kinds.add("halves")
        else:
            content = bytes(ord(mark) & 0xFF for mark in odd)
            # Only where the text itself ends may a character be cut off; elsewhere it is damaged.
            ends = run.end() == len(run.string) and self._is_beginning(content)
            kinds.add("cut" if ends else "bytes")
            return content.decode(self.codec.removesuffix("-sig"), "replace")
        return REPLACEMENT * len(odd)

    def _is_beginning(self, content: bytes) -> bool:
        """Whether more bytes could make this a character."""
        decoder = codecs.getincrementaldecoder(self.codec.removesuffix("-sig"))()
        try:
            return decoder.decode(content) == ""
        except UnicodeDecodeError:
            return False

    def _remember(self, texts: Sequence[str], place: str) -> None:
        self._first = self._first or place
        if sum(map(len, self._sample)) < SAMPLE:
            self._sample += [text[:SAMPLE] for text in texts if ODD.search(text)]

    def _what(self) -> str:
        """What is wrong with most of the bad rows, and where the first is."""
        kind, _ = (self.kinds - Counter(repaired=self.kinds["repaired"])).most_common(1)[0]
        what = WORDS[kind].format(encoding=self.shown).partition(",")[0]
        run = _first_odd(self._sample[0])[0]
        byte = f", byte 0x{ord(run[0]) & 0xFF:02x}" if kind in ("bytes", "cut") else ""
        return f"{what} (the first: {self._first}{byte})"

    def _cure(self, share: float) -> str:
        name, most_bad = self.encoding.fields
        rest = f"{most_bad}{ceil(100 * share) / 100:g} lets them pass, each as U+FFFD"
        if set(self.kinds) <= {"cut", "halves", "nul", "repaired"}:
            return f"fetch or write the file anew; {rest}"
        proposal = self._proposal()
        if proposal is None:
            return f"name the file's encoding by {name.strip('= ')}, or convert it; {rest}"
        other, example = proposal
        return f"it seems to be {other} ('{example}'): set {name}{other}; {rest}"

    def _proposal(self) -> tuple[str, str] | None:
        """(the encoding that the bad rows seem to be in, a part of them read by it)."""
        codec, first = self.codec.removesuffix("-sig"), self._sample[0]
        place = _first_odd(first).start()
        try:
            content = "\n".join(self._sample).encode(codec, MARKS)
            piece = first[max(0, place - 12) : place + 20].encode(codec, MARKS)
        except UnicodeError:  # an encoding of wider units takes no single bytes
            return None
        other = propose(content)
        if other is None or codecs.lookup(other) == codecs.lookup(codec):
            return None
        example = " ".join(piece.decode(other, "replace").split()).strip(REPLACEMENT)
        return other, "".join(c for c in example if c.isprintable())


NOT_BY_ROWS = ["utf_7", *(f"utf_{width}{end}" for width in (16, 32) for end in ("", "_le", "_be"))]
"""encodings in which no row of ours, cut at a single byte, could be"""
WORDS = {
    "bytes": "hold bytes that are not {encoding}, shown as U+FFFD",
    "cut": "end inside a character (an incomplete one of {encoding}), shown as U+FFFD",
    "halves": "hold a lone surrogate (an escape such as \\ud83d alone), shown as U+FFFD",
    "nul": "hold NUL characters, shown as U+FFFD",
    "repaired": "held Windows-1252 characters as control characters (U+0080 to U+009F); they were "
    "repaired",
}
"""words for rows, by kind"""


def propose(content: bytes) -> str | None:
    """The encoding that text seems to be in; None where nothing is likely.

    A proposal for people: code pages of one family differ in a few letters only.
    """
    from charset_normalizer import from_bytes

    matches = from_bytes(content, cp_exclusion=NOT_BY_ROWS)
    best = matches.best()
    if best is None:
        return None
    # Windows-1250 and 1257 read English quotes as well, and come first in the alphabet.
    close = [match for match in matches if match.chaos <= best.chaos + 0.05]
    readings = {name for match in close for name in match.could_be_from_charset}
    return "cp1252" if "cp1252" in readings else best.encoding


def lines_of(stream: TextIO) -> Iterator[str]:
    """Lines without their ends: `\\n` or `\\r\\n`, or `\\r` in a text that has no `\\n`.

    Other separators (U+2028, form feeds) are characters of a line.
    """
    first = True
    for line in stream:
        whole = first and not line.endswith("\n")
        content = line.removesuffix("\n").rstrip("\r")
        yield from content.split("\r") if whole else [content]
        first = False


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codecs' handler of errors: bytes to marks in decoding, marks to bytes in encoding."""
    if isinstance(error, UnicodeDecodeError):
        bad = error.object[error.start : error.end]
        return "".join(chr(0xDC00 | byte) for byte in bad), error.end
    if isinstance(error, UnicodeEncodeError):
        marks = error.object[error.start : error.end]
        return bytes(ord(mark) & 0xFF for mark in marks), error.end
    raise error


codecs.register_error(MARKS, _mark)


def _first_odd(text: str) -> re.Match[str]:
    """The first run of a text that is known to have one."""
    run = ODD.search(text)
    assert run is not None, "only odd texts are kept"
    return run


def is_surely_utf8(stream: BinaryIO) -> bool:
    """Whether all bytes are, with characters enough beyond ASCII that this is no chance."""
    decoder, beyond_ascii = codecs.getincrementaldecoder("utf-8")(), 0
    try:
        while piece := stream.read(1 << 20):
            text = decoder.decode(piece)
            if not text.isascii():
                beyond_ascii += sum(not c.isascii() for c in text)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return beyond_ascii >= SURELY


def _wide(head: bytes) -> str | None:
    """utf-16-le or -be where every other byte of the beginning is zero."""
    head = head[: min(len(head), 64) // 2 * 2]
    if len(head) < 4:
        return None
    zeros = [half.count(0) / len(half) for half in (head[::2], head[1::2])]
    if zeros[1] > 0.5 > zeros[0]:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.5 > zeros[1] else None
