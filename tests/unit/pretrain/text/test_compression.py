"""Compressed files: names and first bytes agree, and nothing inside is passed over."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from configs.errors import InputError
from configs.schema import DataConfig, SourceConfig
from pretrain.data.pieces import cut_unit, units_of
from pretrain.text.compression import COMPRESSIONS, NOT_READ
from pretrain.text.find_files import find_files
from pretrain.text.text_files import read_file

COMPRESS = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
    ".bz2": bz2.compress,
}
CONTENT = "".join(f"line {number} {'x' * (number % 50)}\n" for number in range(3000))


def read(path: Path) -> str:
    source = SourceConfig(kind="text", path=str(path), documents="line")
    return "".join(f"{line}\n" for found in find_files(source) for line in read_file(found, source))


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_all_are_tried() -> None:
    assert set(COMPRESS) == set(COMPRESSIONS)


@pytest.mark.parametrize("ending", COMPRESS)
def test_files_of_several_streams_are_whole(tmp_path: Path, ending: str) -> None:
    parts = [CONTENT[:9000], "", CONTENT[9000:20_000], CONTENT[20_000:]]
    streams = [COMPRESS[ending](part.encode()) for part in parts]
    assert read(put(tmp_path / f"a.txt{ending}", b"".join(streams))) == CONTENT
    assert read(put(tmp_path / f"A.TXT{ending.upper()}", b"".join(streams) + bytes(8))) == CONTENT


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("place", ["first", "second"])
def test_a_stream_that_is_cut_anywhere_is_refused(tmp_path: Path, ending: str, place: str) -> None:
    before = COMPRESS[ending](CONTENT.encode()) if place == "second" else b""
    whole = COMPRESS[ending](CONTENT.encode())
    for kept in (1, 4, 7, 15, len(whole) // 2, len(whole) - 1):
        if not before and kept < 15:
            continue  # the signature is torn: another message
        path = put(tmp_path / f"{kept}.txt{ending}", before + whole[:kept])
        with pytest.raises(InputError, match="truncated"):
            read(path)


@pytest.mark.parametrize("ending", COMPRESS)
def test_what_follows_a_stream_is_not_passed_over(tmp_path: Path, ending: str) -> None:
    path = put(
        tmp_path / f"a.txt{ending}", COMPRESS[ending](CONTENT.encode()) + b"more text\n" * 99
    )
    with pytest.raises(InputError, match="damaged or truncated"):
        read(path)


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_damaged_byte_is_found(tmp_path: Path, ending: str) -> None:
    packed = bytearray(COMPRESS[ending](CONTENT.encode()))
    packed[len(packed) // 2] ^= 0xFF
    checked = ending != ".zst"  # its checksum is an option of the writer
    path = put(tmp_path / f"a.txt{ending}", bytes(packed))
    try:
        assert not checked and read(path)
    except (InputError, AssertionError):
        with pytest.raises(InputError):
            read(path)


@pytest.mark.parametrize("ending", NOT_READ)
@pytest.mark.parametrize("upper", [False, True])
def test_other_compressions_are_refused_by_name(tmp_path, ending: str, upper: bool) -> None:
    name = f"a.txt{ending.upper() if upper else ending}"
    put(tmp_path / name, b"anything")
    for path in (tmp_path / name, tmp_path, tmp_path / "*"):
        with pytest.raises(InputError, match=rf"{name}: a {ending} file cannot be read: unpack it"):
            read(path)


@pytest.mark.parametrize("ending", COMPRESS)
def test_an_archive_inside_is_refused(tmp_path: Path, ending: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))
    content = COMPRESS[ending](archive.getvalue())
    with pytest.raises(InputError, match=r"a .tar file cannot be read"):
        read(put(tmp_path / f"a.tar{ending}", content))
    with pytest.raises(InputError, match=r"holds a .tar file, not text"):
        read(put(tmp_path / f"a.txt{ending}", content))
    with pytest.raises(InputError, match=rf"holds a {ending} file, not text"):
        read(put(tmp_path / f"b.txt{ending}", COMPRESS[ending](COMPRESS[ending](b"a"))))


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_name_that_lies_is_refused(tmp_path: Path, ending: str) -> None:
    content = COMPRESS[ending](b"text")
    with pytest.raises(InputError, match=rf"a.txt: is a {ending} file by its first bytes"):
        read(put(tmp_path / "a.txt", content))
    with pytest.raises(InputError, match=r"is not compressed by its first bytes: name it b.txt,"):
        read(put(tmp_path / f"b.txt{ending}", b"text"))
    other = ".gz" if ending != ".gz" else ".xz"
    with pytest.raises(InputError, match=rf"is a {ending} .*: name it c.txt{ending},"):
        read(put(tmp_path / f"c.txt{other}", content))
    assert read(put(tmp_path / f"empty.txt{ending}", b"")) == ""


def test_an_archive_without_an_ending_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.txt", "w") as archive:
        archive.writestr("a", "text")
    with pytest.raises(InputError, match=r"a.txt: is a .zip file by its first bytes.*: unpack it"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_file_of_many_pieces_is_whole(tmp_path: Path, ending: str) -> None:
    path = put(tmp_path / f"a.txt{ending}", COMPRESS[ending](CONTENT.encode()))
    source = SourceConfig(kind="text", path=str(path), documents="line")
    data = DataConfig(sources=[source], piece_megabytes=0.001)
    found = [
        "".join(f"{document.text}\n" for document in documents)
        for unit in units_of(data)
        for _, documents in cut_unit(unit, 0.1, 1000)
    ]
    assert "".join(found) == CONTENT and len(found) > 3
