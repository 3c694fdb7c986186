"""Text is text: what a file says is what is read, or it is refused in its line."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from configs.schema import DataConfig, SourceConfig
from pretrain.data.pieces import read_unit, units_of
from pretrain.text.hub import read_hub
from pretrain.text.text_files import read_file

CELLS = [
    *("007", "1e5", "1.50", "NA", "null", "None", "nan", "True", "-0", "0x10", "2020-01-02", ""),
    *(
        "2020-01-02 03:04:05",
        " padded ",
        "1,234",
        '"quoted"',
        "a\nb",
        "a\r\nb",
        "가",
        "1_000",
        "#N/A",
    ),
]


def source(path: Path, kind: str, **options) -> SourceConfig:
    return SourceConfig(kind=kind, path=str(path), **options)


def read(path: Path, kind: str, **options) -> list[str]:
    return list(read_file(path, source(path, kind, **options)))


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell


def written(path: Path, cells: list[str]) -> Path:
    """A table, a JSON list, JSON lines or Parquet of the cells, by the ending of `path`."""
    rows = [{"id": n, "text": cell} for n, cell in enumerate(cells)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    content = {
        ".csv": "id,text\r\n" + "".join(f"{n},{quoted(cell)}\r\n" for n, cell in enumerate(cells)),
        ".json": json.dumps(rows, indent=1),
        ".jsonl": "".join(json.dumps(row) + "\n" for row in rows),
    }[path.suffix]
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
@pytest.mark.parametrize("cells", [CELLS, ["007", "08"], ["2020-01-02 03:04:05"] * 3, ["NA", "1"]])
def test_every_format_gives_what_was_written(tmp_path: Path, ending: str, cells: list[str]) -> None:
    path = written(tmp_path / f"a.{ending}", cells)
    assert read(path, "jsonl" if ending == "json" else ending) == cells


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_hub_data_set_gives_what_was_written(tmp_path: Path, ending: str) -> None:
    cells = [cell for cell in CELLS if "\r" not in cell]
    written(tmp_path / f"train.{ending}", cells)
    assert list(read_hub(source(tmp_path, "hub"), 0)) == cells


@pytest.mark.parametrize("value", [7, 1.5, True, {"a": 1}, ["a"]])
def test_a_value_that_is_no_text_is_refused_by_row(tmp_path: Path, value: object) -> None:
    rows = [{"text": "a"}, {"text": value}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"a.jsonl, line 2: column 'text' holds .*, not text"):
        read(path, "jsonl")
    path = path.with_suffix(".json")
    path.write_text(json.dumps(rows, indent=1))
    with pytest.raises(InputError, match=r"a.json, line 5: column 'text' holds .*, not text"):
        read(path, "jsonl")


def test_a_number_is_named_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": 1.50}')
    with pytest.raises(InputError, match=r"holds a number \(1.50\), not text"):
        read(path, "jsonl")


TEXT_TYPES = [
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()),
    *(pa.binary(6), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.binary())),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_parquet_columns_of_text_and_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    values = ["가 a.", None, "나 b."]
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    of_bytes = "binary" in str(inner)
    array = pa.array([v.encode()[:6] if v and of_bytes else v for v in values], inner)
    array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array
    pq.write_table(pa.table({"text": array}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", "parquet") == ["가 a.", "", "나 b."]


OTHER_VALUES = [7, 1.5, True, datetime.datetime(2020, 1, 2), datetime.date(2020, 1, 2)]


@pytest.mark.parametrize("value", [*OTHER_VALUES, Decimal("1.50"), ["a"], {"a": 1}], ids=repr)
def test_parquet_columns_of_another_type_are_refused(tmp_path: Path, value: object) -> None:
    pq.write_table(pa.table({"text": [value], "body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"column 'text' holds .*, not text"):
        read(tmp_path / "a.parquet", "parquet")


def test_bytes_are_in_the_encoding_or_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["가".encode("cp949")]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", "parquet", encoding="cp949") == ["가"]
    with pytest.raises(InputError, match=r"row 1: column 'text' holds bytes that are not UTF-8"):
        read(tmp_path / "a.parquet", "parquet")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,id,text\na,1,b\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "a", "text": "b"}\n')
    (tmp_path / "a.json").write_text('[{"text": "a"},\n{"text": "a", "text": "b"}]\n')
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    for ending, place in (("csv", "line 1"), ("jsonl", "line 2"), ("json", "line 2")):
        with pytest.raises(InputError, match=rf"a.{ending}, {place}: .*: rename one"):
            read(tmp_path / f"a.{ending}", "csv" if ending == "csv" else "jsonl")
    with pytest.raises(InputError, match=r"a.parquet: 2 columns are called 'text': rename one"):
        read(tmp_path / "a.parquet", "parquet")


@pytest.mark.parametrize("row", ["b", "b,2,3"])
def test_rows_of_another_length_are_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.csv").write_text(f"text,id\na,1\n{row}\nc,3\n")
    with pytest.raises(InputError, match=r"line 3: \d cells where the header has 2"):
        read(tmp_path / "a.csv", "csv")


@pytest.mark.parametrize(("lacking", "fails"), [(1, False), (2, True)])
def test_rows_without_the_column_are_refused_beyond_one_percent(tmp_path, lacking, fails) -> None:
    rows = ['{"body": "x"}'] * lacking + ['{"text": "a"}'] * (100 - lacking)
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    if fails:
        with pytest.raises(InputError, match=r"line 1: no column 'text': .* in 2 of 100 rows"):
            read(tmp_path / "a.jsonl", "jsonl")
    else:
        assert read(tmp_path / "a.jsonl", "jsonl") == [""] + ["a"] * 99


@pytest.mark.parametrize("content", ["{}", '{"text": "a"}', '[{"text": "a"}]', " \n[\n]\n", "[]"])
def test_forms_of_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    expected = ["a"] * content.count("a")
    if content == "{}":
        with pytest.raises(InputError, match="no column 'text'"):
            read(tmp_path / "a.json", "jsonl")
    else:
        assert read(tmp_path / "a.json", "jsonl") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},\n{"text": "b"}', "line 2: the list has no end, so the file is truncated"),
        ('[{"text": "a"},\n\n{"text": "b', r"line 3: broken JSON \(Unterminated string"),
        ('[{"text": "a"},\n{"text": oops},\n{"text": "b"}]', "line 2: broken JSON"),
        ('[{"text": "a"}]\n{"text": "b"}', "line 1: something follows the list"),
        ('["a"]', "line 1: a str, not an object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_broken_is_refused_by_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.json", "jsonl")


def test_a_long_list_is_read_piece_by_piece(tmp_path: Path, monkeypatch) -> None:
    """Objects of every size, across the borders of what is read at a time."""
    monkeypatch.setattr("pretrain.text.rows.READ", 7)
    texts = ["가}],{" * (n % 9) for n in range(200)]
    written(tmp_path / "a.json", texts)
    assert read(tmp_path / "a.json", "jsonl") == texts


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp949", "cp932"]
)
@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_the_encoding_is_a_field(tmp_path: Path, encoding: str, kind: str) -> None:
    text = "ア" if encoding == "cp932" else "가"
    content = {"text": f"{text}\n", "jsonl": f'{{"text": "{text}"}}\n', "csv": f"text\n{text}\n"}
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content[kind].encode(encoding))
    assert read(path, kind, encoding=encoding) == [text]


FRENCH = "Le garçon naïf a été élevé à côté de la forêt, où il a reçu un œuf près du château.\n" * 9


@pytest.mark.parametrize("ending", ["txt", "jsonl", "json", "csv"])
def test_another_encoding_is_refused_and_proposed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    lines = FRENCH.splitlines()
    content = {
        "txt": FRENCH,
        "jsonl": "".join(f'{{"text": "{line}"}}\n' for line in lines),
        "json": ",\n".join(f'{{"text": "{line}"}}' for line in lines),
        "csv": "text\n" + "".join(f'"{line}"\n' for line in lines),
    }[ending].encode("cp1252")
    path.write_bytes(content)
    line = 2 if ending == "csv" else 1
    byte = content.index(b"\xe7") + 1 - (len("text\n") if ending == "csv" else 0)
    with pytest.raises(InputError) as caught:
        read(path, {"txt": "text", "json": "jsonl"}.get(ending, ending))
    assert str(caught.value) == (
        f"{path}, line {line}: byte {byte} is not UTF-8: it seems to be "
        "cp1252: set data.sources.N.encoding=cp1252, or convert it"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("size", [0.001, 256.0])
def test_a_byte_order_mark_outranks_the_field(tmp_path: Path, encoding: str, size: float) -> None:
    """Also in a file so large that it would be read in parts."""
    path = tmp_path / "a.txt"
    path.write_bytes(FRENCH.encode(encoding))
    data = DataConfig(sources=[source(path, "text", documents="line")], piece_megabytes=size)
    texts = [d.text for unit in units_of(data) for d in read_unit(unit, 0.1)]
    assert texts == FRENCH.splitlines()


def test_a_nul_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("a\n".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"line 1: a NUL, .* binary or UTF-16: name the encoding"):
        read(tmp_path / "a.txt", "text")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_nul_inside_a_value_is_refused_as_one_in_a_line_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".jsonl":
        path.write_text(json.dumps({"text": "a\0b"}))
    else:
        pq.write_table(pa.table({"text": ["a\0b"]}), path)
    with pytest.raises(InputError, match=r"(line|row) 1: a NUL character"):
        read(path, ending[1:])


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_carriage_return_ends_a_row_only_where_nothing_else_does(tmp_path: Path, ending) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"text\none\rtwo\nthree\n")
    with pytest.raises(InputError, match="line 2: a carriage return alone: replace it"):
        read(path, "csv")
    path.write_bytes(b"text\rone\rtwo\r")
    assert read(path, "csv") == ["one", "two"]


def test_a_byte_order_mark_may_begin_every_part_of_joined_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\ufeff{"text": "a"}\n\ufeff{"text": "\ufeffb"}\n')
    assert read(tmp_path / "a.jsonl", "jsonl") == ["a", "\ufeffb"]


@pytest.mark.parametrize("kind, name", [("text", "a.txt"), ("csv", "a.csv"), ("jsonl", "a.jsonl")])
def test_utf8_is_not_read_as_another_encoding(tmp_path: Path, kind: str, name: str) -> None:
    text = "déjà vu à l'hôtel près du marché à côté"
    content = {"text": text, "csv": f"text\n{text}\n", "jsonl": f'{{"text": "{text}"}}\n'}[kind]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="this file is UTF-8, not cp1252: leave"):
        read(tmp_path / name, kind, encoding="cp1252")
    (tmp_path / name).write_text(content, encoding="cp1252")
    assert read(tmp_path / name, kind, encoding="cp1252") == [text]


@pytest.mark.parametrize(
    "header, shown",
    [("id, text", "one of id, ' text'$"), ("id;text", r"id;text \(one cell: put commas between")],
)
def test_what_is_odd_in_a_header_is_shown(tmp_path: Path, header: str, shown: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n")
    with pytest.raises(InputError, match=shown):
        read(tmp_path / "a.csv", "csv")
