"""Rows come out as they were meant, and what was repaired on the way is counted."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from finetune.data.tables import read_table, read_text, require_columns
from tests.conftest import DATA

CORONA = DATA / "corona_nlp" / "Corona_NLP_train.csv.xz"
PAGE = "text,label\r\nhello,0\r\n"


@pytest.fixture
def write(tmp_path):
    """`write("a.csv", text or bytes)` makes a file."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_line_breaks_inside_quotes_stay_and_crlf_ends_rows(write):
    path = write("a.csv", 'text,label\r\n"one\r\r\ntwo, ""so""",0\r\nthree,1\r\n')
    table = read_table(path)
    assert table.columns == ["text", "label"]
    assert table.rows == [
        {"text": 'one\r\r\ntwo, "so"', "label": "0"},
        {"text": "three", "label": "1"},
    ]
    assert table.numbers == [1, 2] and table.repaired == table.cut == 0


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('",\n\t\r'))


@given(st.lists(st.tuples(CELLS, CELLS.map(lambda cell: f"x{cell}")), min_size=1))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("a", "b"), *rows])
    assert [tuple(row.values()) for row in read_table(path).rows] == rows


def test_quotes_are_ordinary_characters_between_tabs(write):
    table = read_table(write("a.tsv", 'text\tlabel\n"half a quote\t0\nwhole "one"\t1\n'))
    assert [row["text"] for row in table.rows] == ['"half a quote', 'whole "one"']


def test_an_open_quote_does_not_swallow_the_rest_of_the_file(write):
    path = write("a.csv", 'label,text\n0,fine\n1,"open\n0,lost\n1,lost\n')
    with pytest.raises(InputError, match=r"a\.csv, row 2: broken quotes"):
        read_table(path)
    with pytest.raises(InputError, match=r"a\.csv, row 3: broken quotes"):
        read_table(path, ["a", "b"])


def test_windows_characters_that_went_through_latin_1_are_repaired_and_counted(write):
    garbled = "it’s “so” … 5 € – café".encode("cp1252").decode("latin-1")
    table = read_table(write("a.tsv", f"text\n{garbled}\ncafé\nodd \x81\n"))
    assert [row["text"] for row in table.rows] == ["it’s “so” … 5 € – café", "café", "odd \x81"]
    assert table.repaired == 1


def test_rows_that_are_cut_inside_a_character_are_counted(write):
    table = read_table(write("a.csv", "text,label\nwhole é,0\ncut ".encode() + b"\xc3,1\n"))
    assert [row["text"] for row in table.rows] == ["whole é", "cut \ufffd"]
    assert table.cut == 1


def test_a_byte_order_mark_is_no_part_of_the_first_column(write):
    assert read_table(write("a.csv", b"\xef\xbb\xbf" + PAGE.encode())).columns == ["text", "label"]


@pytest.mark.parametrize("row", ["only one", "one,two,three"])
def test_a_row_with_another_number_of_fields_is_named(write, row):
    path = write("a.csv", f"text,label\nfine,0\n\n{row}\n")
    count = len(row.split(","))
    with pytest.raises(InputError, match=rf"a\.csv, row 2: {count} fields where 2 .*task\.columns"):
        read_table(path)


def test_columns_can_be_named_where_there_is_no_header(write):
    table = read_table(write("a.tsv", "x\t0\ny\t1\n"), ["text", "label"])
    assert table.rows == [{"text": "x", "label": "0"}, {"text": "y", "label": "1"}]


ROWS = [{"text": "a\u2028b\u0085c", "label": 1, "note": None}, {"text": "é", "label": 0.5}]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_and_jsonl_hold_the_same_rows(write, ascii_only):
    whole = json.dumps(ROWS, ensure_ascii=ascii_only, indent=1)
    lines = "\r\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in ROWS) + "\n\n"
    for path in (write("a.json", whole), write("a.jsonl", lines)):
        table = read_table(path)
        assert table.columns == ["text", "label", "note"]
        assert table.rows == [
            {"text": "a\u2028b…c", "label": "1", "note": ""},
            {"text": "é", "label": "0.5", "note": ""},
        ]


def test_half_a_character_in_a_json_escape_is_counted_as_cut(write):
    table = read_table(write("a.jsonl", '{"text": "cut \\ud83d"}\n{"text": "\\ud83d\\ude00"}\n'))
    assert [row["text"] for row in table.rows] == ["cut \ufffd", "😀"]
    assert table.cut == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": \n', r"a\.jsonl, line 3: broken JSON"),
        ("a.json", '[{"a": 1},\n {"a" 1}]', r"a\.json, line 2: broken JSON"),
        ("a.jsonl", '{"a": 1}\n3\n', r"a\.jsonl, row 2: no JSON object"),
        ("a.csv", "text,label\n", r"a\.csv: no rows"),
        ("a.csv", "", r"a\.csv: no rows"),
        ("a.json", "[]", r"a\.json: no rows"),
        ("a.xlsx", "x", r"a\.xlsx: unknown kind of table"),
        ("a.csv.gz", gzip.compress(PAGE.encode() * 99)[:-9], r"a\.csv\.gz: damaged or cut off"),
        ("a.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff", r"a\.csv\.gz: damaged"),
        ("a.csv.xz", lzma.compress(PAGE.encode() * 99)[:-9], r"a\.csv\.xz: damaged or cut off"),
        ("a.csv.xz", PAGE, r"a\.csv\.xz: damaged or cut off"),
    ],
)
def test_broken_files_are_named(write, name, content, message):
    with pytest.raises(InputError, match=message):
        read_table(write(name, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.csv: no such file: check task\.folder"):
        read_text(tmp_path / "a.csv")


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_compressed_tables_are_read(write, ending, pack):
    path = write(f"a.part.csv.{ending}", pack(PAGE.encode()))
    assert read_table(path).rows == [{"text": "hello", "label": "0"}]


def test_a_missing_column_is_named_with_those_there_are(write):
    table = read_table(write("a.csv", PAGE))
    require_columns(table, ["label", "text"], "task.text")
    with pytest.raises(
        InputError, match=r"no column 'tweet': set task\.text to one of text, label"
    ):
        require_columns(table, ["text", "tweet"], "task.text")


@pytest.mark.skipif(not CORONA.is_file(), reason="needs the Corona tweets")
def test_the_corona_tweets():
    table = read_table(CORONA)
    assert Counter(row["Sentiment"] for row in table.rows) == {
        "Positive": 11422,
        "Negative": 9917,
        "Neutral": 7713,
        "Extremely Positive": 6624,
        "Extremely Negative": 5481,
    }
    assert len(table.rows) == table.numbers[-1] == 41_157
    # Of 7,062 tweets with a character beyond ASCII, the others hold letters such as é only.
    assert sum(not row["OriginalTweet"].isascii() for row in table.rows) == 7_062
    assert table.repaired == 6_676
    cut = [row["UserName"] for row in table.rows if "\ufffd" in row["OriginalTweet"]]
    assert cut == ["19068", "22249", "25183", "39928"] and table.cut == 4
    assert not any("\x80" <= c < "\xa0" for row in table.rows for c in row["OriginalTweet"])
