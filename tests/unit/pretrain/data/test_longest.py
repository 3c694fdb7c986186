"""A document has a longest length, and memory stays bounded while it is found out."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from configs.schema import DataConfig, SourceConfig
from pretrain.data.pieces import units_of
from pretrain.text.hub import read_hub
from pretrain.text.text_files import read_file

LONG = 40_000_000
FORMS = {
    "a line": ("a.txt", b"first\n", b"a ", b"\nlast\n", {"documents": "line"}, "line 2: a line of"),
    "no blank line": ("a.txt", b"a\n\nfirst\n", b"a\n", b"", {}, "line 3: no blank line"),
    "a JSON line": ("a.jsonl", b'{"text": "a"}\n{"text": "', b"a ", b'"}', {}, "line 2: a line of"),
    "JSON": ("a.json", b'[{"text": "a"},\n{"text": "', b"a ", b'"}]', {}, "line 2: a row of"),
    "an open list": ("a.json", b"[", b"[1,", b"", {}, "nested too deeply|a row of"),
    "a cell": ("a.csv", b"text\nfirst\n", b"a ", b"\nlast\n", {}, "line 3: a line of"),
    "an open quote": ("a.csv", b'text\nfirst\n"', b"a\n", b"", {}, "a quote left open, of more"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_document_that_is_too_long_is_refused_in_bounded_memory(tmp_path: Path, form) -> None:
    name, before, unit, after, options, message = FORMS[form]
    path = tmp_path / f"{name}.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(before)
        for _ in range(40):
            file.write(unit * (LONG // 40 // len(unit)))
        file.write(after)
    kind = {"txt": "text", "csv": "csv"}.get(name[2:], "jsonl")
    source = SourceConfig(kind=kind, path=str(path), longest_document_megabytes=1.0, **options)
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as caught:
        list(read_file(path, source))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "longest_document_megabytes=1" in str(caught.value) or "nested" in str(caught.value)
    assert peak < 16_000_000, f"{peak:,} bytes for a limit of one million"


def test_a_cut_in_an_endless_line_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "' + b"a" * LONG + b'"}\n')
    source = SourceConfig(kind="jsonl", path=str(path))
    units = units_of(DataConfig(sources=[source], piece_megabytes=4.0))
    assert len(units) == 11
    tracemalloc.start()
    with pytest.raises(InputError, match=r"line 1: a line of more than 32 MB"):
        list(_documents(units))
    assert tracemalloc.get_traced_memory()[1] < 4 * 32_000_000
    tracemalloc.stop()


def _documents(units) -> Iterator:
    from pretrain.data.pieces import read_unit

    for part in units:
        yield from read_unit(part, 0.1)


@pytest.mark.parametrize("kind", ["parquet", "hub"])
def test_a_cell_of_a_binary_table_is_refused_by_row(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"text": ["a", "b" * 2000, "c"]}), path)
    source = SourceConfig(
        kind=kind,
        path=str(path if kind == "parquet" else tmp_path),
        longest_document_megabytes=0.001,
    )
    with pytest.raises(InputError, match=r"row 2: a text of more than 0.001 MB"):
        list(read_file(path, source) if kind == "parquet" else read_hub(source, 0))


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [("a.txt", "가" * 300 + "\n나\n", {"documents": "line"}), ("a.txt", "가\n" * 300, {})],
)
def test_bytes_count_not_characters(tmp_path: Path, name: str, content: str, options) -> None:
    path = tmp_path / name
    path.write_text(content)
    exact = max(len(part.encode()) for part in ([content] if not options else content.split("\n")))
    exact += bool(options)  # the line's end
    for size, fails in ((exact, False), (exact - 1, True)):
        source = SourceConfig(
            kind="text",
            path=str(path),
            longest_document_megabytes=max(0.001, size / 1e6),
            **options,
        )
        if fails and size >= 1000:
            with pytest.raises(InputError, match="longest_document_megabytes"):
                list(read_file(path, source))
        else:
            assert list(read_file(path, source))
