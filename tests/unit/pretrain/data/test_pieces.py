"""Pieces: together they are the corpus, whatever their size, and however it is stored."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.schema import DataConfig, SourceConfig
from pretrain.data import pieces
from pretrain.data.pieces import cut_unit, piece_bytes, units_of
from pretrain.text.lines import ByteRange, find_cut, open_bytes
from pretrain.text.text_files import read_file

TEXTS = [f"document {n} " + "word " * (n * 7 % 40) + "ends." for n in range(300)]
ROWS = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
BLOCKS = "\n\n".join(text.replace(" ends", "\nends") for text in TEXTS)
CSV = "id,text\r\n" + "".join(f'{n},"{text}"\r\n' for n, text in enumerate(TEXTS))


def cut(data: DataConfig) -> list[list[str]]:
    """The texts of every piece."""
    return [
        [document.text for document in documents]
        for unit in units_of(data)
        for _, documents in cut_unit(unit, data.heldout_fraction, piece_bytes(data))
    ]


def one_source(path: Path, content: str, size: int, **options: str) -> DataConfig:
    packed = gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode()
    path.write_bytes(packed)
    source = SourceConfig(**{"kind": "jsonl", "path": str(path), **options})
    return DataConfig(sources=[source], piece_megabytes=size / 1e6)


FORMS = {
    "jsonl": ("a.jsonl", ROWS, {}),
    "jsonl.gz": ("a.jsonl.gz", ROWS, {}),
    "json": ("a.json", ROWS, {}),
    "lines": ("a.txt", "\n".join(TEXTS), {"kind": "text", "documents": "line"}),
    "blocks": ("a.txt", BLOCKS, {"kind": "text"}),
    "windows": ("a.txt", BLOCKS.replace("\n", "\r\n"), {"kind": "text"}),
    "csv": ("a.csv", CSV, {"kind": "csv"}),
}


@pytest.mark.parametrize("size", [1000, 3000, 7777, 10**6])
@pytest.mark.parametrize("form", FORMS)
def test_pieces_hold_every_document_once_and_in_order(tmp_path, form, size):
    name, content, options = FORMS[form]
    found = cut(one_source(tmp_path / name, content, size, **options))
    texts = [text.replace("\nends", " ends") for piece in found for text in piece]
    assert texts == TEXTS
    assert len(found) > 5 or size >= 7777 or form.endswith("gz"), "a piece is a part of the text"
    sizes = [sum(len(text) for text in piece) for piece in found]
    assert max(sizes) < size + 2 * max(map(len, TEXTS)) or form.endswith("gz")


def test_a_plain_file_is_read_from_where_its_piece_begins(tmp_path, monkeypatch):
    data = one_source(tmp_path / "a.jsonl", ROWS, 2000)
    read: list[ByteRange] = []

    def spy(path: Path, source: SourceConfig, part: ByteRange | None = None):
        read.append(part)
        return read_file(path, source, part)

    monkeypatch.setattr(pieces, "read_file", spy)
    cut(data)
    assert len(read) == len(units_of(data)) > 10
    assert [part.start for part in read[1:]] == [part.end for part in read[:-1]]
    assert read[-1].end == len(ROWS)


def test_small_files_make_one_piece_together(tmp_path):
    for number in range(40):
        (tmp_path / f"{number:02d}.txt").write_text(f"{number:02d} " + "x" * 97)
    source = SourceConfig(kind="text", path=str(tmp_path))
    found = cut(DataConfig(sources=[source], piece_megabytes=0.001))
    assert [len(piece) for piece in found] == [10, 10, 10, 10]
    assert [text[:2] for piece in found for text in piece] == [f"{n:02d}" for n in range(40)]


def test_sources_are_numbered_one_after_the_other(tmp_path):
    first = one_source(tmp_path / "a.jsonl", ROWS, 3000)
    second = one_source(tmp_path / "b.csv", CSV, 3000, kind="csv")
    both = DataConfig(sources=[*first.sources, *second.sources], piece_megabytes=0.003)
    numbers = [number for unit in units_of(both) for number in unit.numbers]
    assert numbers == list(range(len(cut(first)) + len(cut(second))))


def test_each_file_of_a_hub_data_set_is_a_piece(tmp_path):
    for number in range(3):
        rows = [{"text": f"{number} {row}"} for row in range(4)]
        (tmp_path / f"train-{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = SourceConfig(kind="hub", path=str(tmp_path))
    found = cut(DataConfig(sources=[source]))
    assert found == [[f"{number} {row}" for row in range(4)] for number in range(3)]


@pytest.mark.parametrize("between_blocks", [False, True])
def test_a_cut_falls_between_documents(tmp_path, between_blocks):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\n \r\nthree\n\n\nfour")
    allowed = {0, 11, 18, 19, 23} if between_blocks else {0, 4, 8, 11, 17, 18, 19, 23}
    cuts = [find_cut(path, offset, between_blocks) for offset in range(24)]
    assert set(cuts) == allowed - ({18} if between_blocks else set()) | {18}
    assert cuts == sorted(cuts) and all(at >= offset for offset, at in enumerate(cuts))


def test_a_span_ends_where_it_should(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(range(100)) * 300)
    with open_bytes(path, ByteRange(5, 20_005)) as stream:
        assert stream.read() == path.read_bytes()[5:20_005]


def test_a_broken_line_is_named_wherever_its_piece_begins(tmp_path):
    lines = ROWS.splitlines()
    lines[250] = '{"text": oops}'
    with pytest.raises(InputError, match="line 251: broken JSON"):
        cut(one_source(tmp_path / "a.jsonl", "\n".join(lines), 2000))
    lines[250] = '["text"]'
    with pytest.raises(InputError, match="line 251: a list, not an object"):
        cut(one_source(tmp_path / "a.jsonl", "\n".join(lines), 2000))
