"""Every format in every compression, and what is said of broken files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from configs.errors import InputError
from configs.schema import SourceConfig
from pretrain.text.find_files import find_files
from pretrain.text.hub import read_hub
from pretrain.text.text_files import read_file

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}
PACKED = [ending for ending in COMPRESS if ending]
TEXT = "\ufeffone a\r\ntwo b\r\n \r\n\r\n\r\nthree 가\n\n"


def read(path: Path, kind: str, **options: str) -> list[str]:
    return list(read_file(path, SourceConfig(kind=kind, path=str(path), **options)))


@pytest.mark.parametrize("packed", COMPRESS)
@pytest.mark.parametrize(
    ("kind", "ending", "content", "options", "expected"),
    [
        ("text", ".txt", TEXT, {}, ["one a\ntwo b", "three 가"]),
        ("text", ".txt", "a\nb\n", {"documents": "line"}, ["a", "b"]),
        (
            "jsonl",
            ".jsonl",
            '{"text": "가\\nb"}\n{"text": null}\n{"text": "c"}\n',
            {},
            ["가\nb", "", "c"],
        ),
        (
            "csv",
            ".csv",
            'id,body\r\n1,"a\nb ""c"""\r\n2,NA\r\n',
            {"column": "body"},
            ['a\nb "c"', "NA"],
        ),
        ("csv", ".tsv", 'id\ttext\n1\t"open\n2\tb\n', {}, ['"open', "b"]),
    ],
    ids=["blank-line", "line", "jsonl", "csv", "tsv"],
)
def test_formats(tmp_path, packed, kind, ending, content, options, expected) -> None:
    path = tmp_path / f"file{ending}{packed}"
    path.write_bytes(COMPRESS[packed](content.encode()))
    assert read(path, kind, **options) == expected


def test_parquet(tmp_path: Path) -> None:
    from datasets import Dataset

    path = tmp_path / "file.parquet"
    Dataset.from_dict({"id": [1, 2], "text": ["a", "b\nc"]}).to_parquet(path)
    assert read(path, "parquet") == ["a", "b\nc"]


def test_a_file_of_nothing_has_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    assert read(path, "jsonl") == []


BROKEN = [
    ("text", b"fine\n\n\xff\xfe\n", "line 3: byte 1 is not UTF-8"),
    ("csv", b"text\nfine\nna\xefve\n", "line 3: byte 3 is not UTF-8"),
    (
        "jsonl",
        b'{"text": "a"}\n{"text": oops}\n',
        r"line 2: broken JSON \(Expecting value, column 10",
    ),
    ("jsonl", b'{"text": "\\ud83d"}\n', "line 1: a lone surrogate"),
    ("jsonl", b'{"text": ["a"]}\n', "line 1: column 'text' holds a list"),
    ("jsonl", b'{"body": "a", "id": 1}\n', "no column 'text': .* one of body, id"),
    ("csv", b"body,id\na,1\n", "no column 'text': .* one of body, id"),
    ("csv", b"text,id\na,1\nb,2,3\n", "line 3"),
    ("parquet", b"no such thing", "cannot be read as parquet"),
]


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize(("kind", "content", "message"), BROKEN)
def test_broken_rows_are_located(tmp_path, packed, kind, content, message) -> None:
    path = tmp_path / f"file.{kind}{packed}"
    path.write_bytes(COMPRESS[packed](content))
    with pytest.raises(InputError, match=message) as caught:
        read(path, kind)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, kind, packed) -> None:
    rows = {"text": "line {}", "jsonl": '{{"text": "{}"}}', "csv": "line {}"}[kind]
    content = "\n".join(
        ["text" if kind == "csv" else rows.format(0), *map(rows.format, range(5000))]
    )
    path = tmp_path / f"file.{kind}{packed}"
    path.write_bytes(COMPRESS[packed](content.encode())[:-9])
    with pytest.raises(InputError, match="truncated"):
        read(path, kind)


@pytest.mark.parametrize("packed", PACKED)
def test_a_file_that_is_not_compressed_is_refused(tmp_path, packed) -> None:
    path = tmp_path / f"file.txt{packed}"
    path.write_bytes(b"plain text\n")
    with pytest.raises(InputError, match=r"is not compressed by its first bytes: name it file.txt"):
        read(path, "text")


def test_zst_files_of_several_frames_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt.zst"
    path.write_bytes(COMPRESS[".zst"](b"a\n\n") + COMPRESS[".zst"](b"b\n"))
    assert read(path, "text") == ["a", "b"]


def test_folders_and_globs_are_read_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt.gz", "sub/c.txt", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(path: Path) -> list[str]:
        files = find_files(SourceConfig(kind="text", path=str(path)))
        return [file.relative_to(tmp_path).as_posix() for file in files]

    assert found(tmp_path) == ["a.txt.gz", "b.txt", "sub/c.txt"]
    assert found(tmp_path / "*") == ["a.txt.gz", "b.txt", "notes.md"]
    assert found(tmp_path / "**" / "*.txt") == ["b.txt", "sub/c.txt"]


def test_a_name_with_the_signs_of_a_glob_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "part[1].txt"
    path.write_text("a\n")
    assert find_files(SourceConfig(kind="text", path=str(path))) == [path]
    assert read(path, "text") == ["a"]


@pytest.mark.parametrize("name", ["gone.txt", "*.txt", ""])
def test_a_path_without_files_is_refused(tmp_path, name) -> None:
    with pytest.raises(InputError, match=f"no text file at {tmp_path}"):
        find_files(SourceConfig(kind="text", path=str(tmp_path / name)))


def test_hub_data_sets_by_split_and_column(tmp_path: Path) -> None:
    rows = [{"body": "a"}, {"body": "b"}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = SourceConfig(kind="hub", path=str(tmp_path), column="body")
    assert list(read_hub(source, 0)) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "split=test .*Available splits"),
        ({"subset": "20231101.en"}, "subset=20231101.en"),
        ({"column": "body"}, "no column 'body'"),
    ],
)
def test_hub_errors_name_what_was_asked(tmp_path, options, message) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match=message):
        list(read_hub(SourceConfig(kind="hub", path=str(tmp_path), **options), 0))


def test_an_unreachable_hub_data_set_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_, **__) -> None:
        raise ConnectionError("Couldn't reach 'some/data' on the Hub\nRetry later")

    monkeypatch.setattr("datasets.load_dataset_builder", unreachable)
    with pytest.raises(InputError, match=r"some/data.*check these names and the network") as caught:
        list(read_hub(SourceConfig(kind="hub", path="some/data"), 0))
    assert "\n" not in str(caught.value)
