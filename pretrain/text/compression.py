"""Compressed files: what their names and first bytes say they are, and the bytes inside.

Nothing is guessed: a file is unpacked where its name says so, and its first bytes must agree. What
cannot be read here is refused by its name.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.system.files import check_stored

COMPRESSIONS = (".gz", ".xz", ".zst", ".bz2")
NOT_READ = (
    *(".zip", ".7z", ".rar", ".lz4", ".lz", ".lzma", ".lzo", ".sz", ".z", ".br", ".zlib"),
    *(".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"),
)
"""archives hold many files; of the other methods there is no use in this field"""
SIGNATURES = {
    ".gz": re.compile(rb"\x1f\x8b\x08"),
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    ".bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    ".zip": re.compile(rb"PK(\x03\x04|\x05\x06)"),
    ".7z": re.compile(rb"7z\xbc\xaf\x27\x1c"),
    ".rar": re.compile(rb"Rar!\x1a\x07"),
    ".lz4": re.compile(rb"\x04\x22\x4d\x18"),
    ".lz": re.compile(rb"LZIP[\x00\x01]"),
    ".z": re.compile(rb"\x1f\x9d"),
    ".tar": re.compile(rb".{257}ustar", re.DOTALL),
}
HEAD = 262
"""bytes that hold all signatures: a tar's comes last"""
FED = 4096
"""bytes unpacked at a time: a few thousand times as many may come out"""


def compression_of(path: Path) -> str:
    """The ending of a compressed file that can be read, in small letters; "" where it has none."""
    ending = path.suffix.lower()
    return ending if ending in COMPRESSIONS else ""


def plain_name(path: Path) -> str:
    """The file's name in small letters, without the ending of a compression."""
    return path.name.lower().removesuffix(compression_of(path))


def open_unpacked(path: Path) -> BufferedReader:
    """A stream of a file's bytes, unpacked where its name says so.

    What is torn raises `EOFError`, and what is damaged or followed by something else `OSError`,
    while it is read: nothing is passed over.

    Raises:
        InputError: the name or the first bytes are those of a compression that is not read, or the
            two do not agree.
    """
    check_name(path)
    check_stored(path)
    ending = compression_of(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    signed = _signed(head)
    if head and signed != ending:
        raise InputError(_disagreement(path, signed, ending))
    if not ending or not head:
        return path.open("rb")
    stream: BufferedReader = BufferedReader(_Unpacked(path, ending))
    if inner := _signed(stream.peek(HEAD)[:HEAD]):
        raise InputError(f"{path}: holds {_file_of(inner)}, not text: unpack it once more")
    return stream


def check_name(path: Path) -> None:
    """Raise `InputError` for a file whose ending names an archive or a method that is not read."""
    for ending in (path.suffix.lower(), Path(plain_name(path)).suffix):
        if ending in NOT_READ:
            raise InputError(f"{path}: {_file_of(ending)} cannot be read: {_cure(ending)}")


def _signed(head: bytes) -> str:
    """The ending whose signature a file begins with, "" for none."""
    return next((name for name, sign in SIGNATURES.items() if sign.match(head)), "")


def _disagreement(path: Path, signed: str, ending: str) -> str:
    if not ending:
        return f"{path}: is {_file_of(signed)} by its first bytes, not by its name: {_cure(signed)}"
    what = f"is {_file_of(signed)}" if signed else "is not compressed"
    named = path.name[: -len(ending)] + (signed if signed in COMPRESSIONS else "")
    cure = _cure(signed) if signed and signed not in COMPRESSIONS else f"name it {named}"
    return f"{path}: damaged or misnamed, {what} by its first bytes: {cure}, or fetch it anew"


def _file_of(ending: str) -> str:
    return f"a {ending} file"


def _cure(ending: str) -> str:
    if ending in COMPRESSIONS:
        return f"give it the ending {ending}"
    return f"unpack it; {', '.join(COMPRESSIONS)} are read as they are"


def _unpacker(ending: str) -> Callable[[], Any]:
    """What makes an object that unpacks one stream of such a file."""
    if ending == ".zst":
        from zstandard import ZstdDecompressor

        return lambda: ZstdDecompressor().decompressobj()
    if ending == ".gz":
        return lambda: zlib.decompressobj(wbits=31)
    return lzma.LZMADecompressor if ending == ".xz" else bz2.BZ2Decompressor


class _Unpacked(RawIOBase):
    """The bytes inside a compressed file of one or several streams.

    The library's own classes end without an error where a later stream of an .xz or .bz2 file is
    damaged, or where a .zst file is truncated.
    """

    def __init__(self, path: Path, ending: str) -> None:
        self._file, self._new = path.open("rb"), _unpacker(ending)
        self._stream = self._new()
        self._rest = self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of a BufferedReader
        while not self._ready:
            piece = self._rest or self._file.read(FED)
            if not piece:
                if not self._stream.eof:
                    raise EOFError("the last stream has no end")
                return 0
            self._ready = self._unpack(piece)  # empty where the piece was a part of a header
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _unpack(self, piece: bytes) -> bytes:
        if self._stream.eof:
            # Zeros may fill up the space between streams; none begins with one.
            piece = piece.lstrip(b"\0")
            if not piece:
                self._rest = b""
                return b""
            self._stream = self._new()
        try:
            ready: bytes = self._stream.decompress(piece)
        except Exception as error:  # of four libraries, which share no class
            raise OSError(f"damaged: {error}") from error
        self._rest = self._stream.unused_data if self._stream.eof else b""
        return ready

    def close(self) -> None:
        self._file.close()
        super().close()
