"""Rows out of JSON hold what the file says."""

from __future__ import annotations

import json

import pytest

from configs.errors import InputError
from finetune.data.tables import read_table, require_columns
from tests.unit.finetune.data.table_files import read

ROWS = [{"text": "a\u2028b\x0cc", "label": 1, "note": None}, {"text": "é", "label": 0.5}]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_and_jsonl_hold_the_same_rows(write, ascii_only):
    whole = json.dumps(ROWS, ensure_ascii=ascii_only, indent=1)
    lines = "\r\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in ROWS) + "\n\n"
    for path in (write("a.json", whole), write("a.jsonl", lines)):
        table = read_table(path)
        assert table.columns == ["text", "label", "note"]
        assert table.rows == [
            {"text": "a\u2028b\x0cc", "label": "1", "note": ""},
            {"text": "é", "label": "0.5", "note": ""},
        ]


def test_half_a_character_in_a_json_escape_is_counted_as_cut(write):
    path = write("a.jsonl", '{"text": "cut \\ud83d"}\n{"text": "\\ud83d\\ude00"}\n')
    table, (note,) = read(path, most_bad=0.5)
    assert [row["text"] for row in table.rows] == ["cut \ufffd", "😀"]
    assert note.startswith("a.jsonl: 1 of 2 rows hold a lone surrogate")


def test_numbers_keep_their_figures(write):
    values = [
        "1",
        "1.0",
        "1e3",
        "-0.10",
        "12345678901234567890123",
        "0.1000000000000000055",
        "1E400",
    ]
    lines = "".join(f'{{"n": {value}, "yes": true, "no": false}}\n' for value in values)
    table = read_table(write("a.jsonl", lines))
    assert [row["n"] for row in table.rows] == values
    assert table.rows[0] == {"n": "1", "yes": "true", "no": "false"}


def test_columns_that_some_objects_lack_are_counted(write):
    _, notes = read(write("a.jsonl", '{"a": 1, "b": 2}\n{"a": 3}\n{"c": 4}\n'))
    assert notes == [
        "a.jsonl: columns that some rows of 3 lack, and that are empty there: a (1), b (2), c (2)"
    ]


def test_lists_and_objects_are_no_text(write):
    table = read_table(write("a.jsonl", '{"text": "a", "tags": ["b"]}\n'))
    require_columns(table, ["text"], "task.text")
    with pytest.raises(InputError, match=r"a\.jsonl, row 1: column 'tags' holds a list or an obj"):
        require_columns(table, ["tags"], "task.text")


def test_a_byte_order_mark_may_begin_every_part_of_joined_lines(write):
    table = read_table(write("a.jsonl", '\ufeff{"text": "a"}\n\ufeff{"text": "b"}\n'))
    assert [row["text"] for row in table.rows] == ["a", "b"]


@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.jsonl"])
def test_an_object_a_line_is_read_whatever_the_file_is_called(tmp_path, name):
    (tmp_path / name).write_text('{"text": "a\\nb", "n": {}}\n{"text": "c", "n": 1}\n')
    assert [row["text"] for row in read_table(tmp_path / name).rows] == ["a\nb", "c"]


def test_nan_is_an_empty_cell_as_null_is(write):
    table, _ = read(write("a.jsonl", '{"a": NaN, "b": "NaN"}\n{"a": null, "b": 1.50}\n'))
    assert table.rows == [{"a": "", "b": "NaN"}, {"a": "", "b": "1.50"}]
