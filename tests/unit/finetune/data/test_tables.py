"""Rows come out as they were meant, and what was repaired on the way is counted."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from finetune.data.tables import read_table, read_text, require_columns
from pretrain.text.encoding import Encoding
from tests.conftest import DATA
from tests.unit.finetune.data.table_files import PAGE, read

CORONA = DATA / "corona_nlp" / "Corona_NLP_train.csv.xz"
gzipped = partial(gzip.compress, mtime=0)  # else a test's name would hold the time


def test_line_breaks_inside_quotes_stay_and_crlf_ends_rows(write):
    path = write("a.csv", 'text,label\r\n"one\r\r\ntwo, ""so""",0\r\nthree,1\r\n')
    table = read_table(path)
    assert table.columns == ["text", "label"]
    assert table.rows == [
        {"text": 'one\r\r\ntwo, "so"', "label": "0"},
        {"text": "three", "label": "1"},
    ]
    assert table.numbers == [1, 2] and table.ids == ["1", "2"]


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('",\n\t\r'))


@given(st.lists(st.tuples(CELLS, CELLS.map(lambda cell: f"x{cell}")), min_size=1))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("a", "b"), *rows])
    assert [tuple(row.values()) for row in read_table(path).rows] == rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(write, end):
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        table = read_table(
            write(name, end.join([f"a{mark}b", f"1{mark}x\u2028y\x0cz", f"2{mark}"]))
        )
        assert table.rows == [{"a": "1", "b": "x\u2028y\x0cz"}, {"a": "2", "b": ""}]


def test_a_carriage_return_inside_a_line_ends_no_row(write):
    assert read_table(write("a.tsv", "text\none\rtwo\n")).rows == [{"text": "one\rtwo"}]
    with pytest.raises(
        InputError, match=r"a\.csv, row 1: a carriage return alone .*quote the field"
    ):
        read_table(write("a.csv", "text\none\rtwo\n"))


def test_blank_lines_are_no_rows_and_counted(write):
    for name in ("a.csv", "a.tsv"):
        table, notes = read(write(name, "text\n\none\n\n"))
        assert table.rows == [{"text": "one"}] and notes == [f"{name}: 2 blank lines are no rows"]


def test_quotes_are_ordinary_characters_between_tabs(write):
    table = read_table(write("a.tsv", 'text\tlabel\n"half a quote\t0\nwhole "one"\t1\n'))
    assert [row["text"] for row in table.rows] == ['"half a quote', 'whole "one"']


def test_an_open_quote_does_not_swallow_the_rest_of_the_file(write):
    path = write("a.csv", 'label,text\n0,fine\n1,"open\n0,lost\n1,lost\n')
    with pytest.raises(InputError, match=r"a\.csv, row 2: broken quotes"):
        read_table(path)
    with pytest.raises(InputError, match=r"a\.csv, row 3: broken quotes"):
        read_table(path, ["a", "b"])


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


def test_rows_have_the_ids_of_the_file(write):
    table, notes = read(write("a.csv", "idx,text,id\n7,a,x\n8,b,y\n"))
    assert table.ids == ["x", "y"] and not notes
    table, notes = read(write("a.csv", "idx,text\n7,a\n,b\n"))
    assert table.ids == ["1", "2"]
    assert notes == ["a.csv: column 'idx' is empty in 1 of 2 rows: ids are the rows' numbers"]
    table, notes = read(write("a.csv", "idx,text\n7,a\n7,b\n"))
    assert table.ids == ["7", "7"]
    assert notes == ["a.csv: 2 rows have 1 different ids in column 'idx'"]


def test_columns_without_a_name_are_called_by_their_place(write):
    table = read_table(write("a.csv", "v1,v2,,\nham,hello,,more\n"))
    assert table.columns == ["v1", "v2", "column 3", "column 4"]
    assert table.rows[0]["column 4"] == "more"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": \n', r"a\.jsonl, line 3: broken JSON"),
        ("a.json", '[{"a": 1},\n {"a" 1}]', r"a\.json, line 2: broken JSON"),
        ("a.jsonl", '{"a": 1}\n3\n', r"a\.jsonl, row 2: no JSON object"),
        ("a.jsonl", '{"a": 1}\n{"a": 1, "b": 2, "a": 3}', r"line 2: broken JSON \(.* 'a' twice"),
        ("a.jsonl", '{"a": -Infinity}', r"a\.jsonl, line 1: broken JSON \(-Infinity is no JSON"),
        ("a.json", "[" * 100_000, r"a\.json, line 1: JSON nested too deeply"),
        ("a.csv", "text,label,text\n1,2,3\n", r"a\.csv: two columns are called 'text'"),
        ("a.tsv", "a\tb\ta\n1\t2\t3\n", r"a\.tsv: two columns are called 'a'"),
        ("a.csv.zip", b"x", r"a\.csv\.zip: a \.zip file cannot be read: unpack it"),
        (
            "a.csv",
            PAGE.encode("utf-16-le"),
            r"a\.csv: utf-16-le without .* task\.encoding=utf-16-le",
        ),
        (
            "a.csv",
            PAGE.encode("utf-16-be"),
            r"a\.csv: utf-16-be without .* task\.encoding=utf-16-be",
        ),
        ("a.csv.bz2", bz2.compress(PAGE.encode() * 99)[:-9], r"a\.csv\.bz2: damaged or truncated"),
        ("a.csv", "text,label\n", r"a\.csv: no rows"),
        ("a.csv", "", r"a\.csv: no rows"),
        ("a.json", "[]", r"a\.json: no rows"),
        ("a.xlsx", "x", r"a\.xlsx: unknown kind of table"),
        ("a.csv.gz", gzipped(PAGE.encode() * 99)[:-9], r"a\.csv\.gz: damaged or truncated"),
        ("a.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff", r"a\.csv\.gz: damaged"),
        ("a.csv.xz", lzma.compress(PAGE.encode() * 99)[:-9], r"a\.csv\.xz: damaged or truncated"),
        ("a.csv.xz", PAGE, r"a\.csv\.xz: damaged or misnamed, is not compressed"),
        ("a.csv", gzipped(PAGE.encode()), r"a\.csv: is a \.gz file by its first bytes"),
        (
            "a.csv.xz",
            lzma.compress(PAGE.encode()) * 2 + b"more",
            r"a\.csv\.xz: damaged or truncated",
        ),
    ],
)
def test_broken_files_are_named(write, name, content, message):
    with pytest.raises(InputError, match=message):
        read_table(write(name, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.csv: no such file: check task\.folder"):
        read_text(tmp_path / "a.csv", Encoding().decoder("a.csv"))


def test_a_missing_column_is_named_with_those_there_are(write):
    table = read_table(write("a.csv", PAGE))
    require_columns(table, ["label", "text"], "task.text")
    with pytest.raises(
        InputError, match=r"no column 'tweet': set task\.text to one of text, label"
    ):
        require_columns(table, ["text", "tweet"], "task.text")


@pytest.mark.skipif(not CORONA.is_file(), reason="needs the Corona tweets")
def test_the_corona_tweets():
    table, notes = read(CORONA)
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
    assert [note.partition(": ")[2] for note in notes] == [
        "4 of 41,157 rows end inside a character (an incomplete one of UTF-8), shown as U+FFFD",
        "6,676 of 41,157 rows held Windows-1252 characters as control characters (U+0080 to "
        "U+009F); they were repaired",
    ]
    cut = [row["UserName"] for row in table.rows if "\ufffd" in row["OriginalTweet"]]
    assert cut == ["19068", "22249", "25183", "39928"]
    assert table.ids == [row["UserName"] for row in table.rows]
    assert not any("\x80" <= c < "\xa0" for row in table.rows for c in row["OriginalTweet"])


def test_what_is_odd_in_a_header_is_shown(tmp_path):
    (tmp_path / "a.csv").write_text("id, text\n1, a\n")
    with pytest.raises(InputError, match=r"task.text to one of id, ' text'$"):
        require_columns(read_table(tmp_path / "a.csv"), ["text"], "task.text")
    (tmp_path / "b.csv").write_text("id;text\n1;a\n")
    with pytest.raises(InputError, match=r"id;text \(one cell: put commas between cells in .csv"):
        require_columns(read_table(tmp_path / "b.csv"), ["text"], "task.text")
