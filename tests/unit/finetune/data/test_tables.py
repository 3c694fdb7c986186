"""Rows come out as they were meant, and what was repaired on the way is counted."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from finetune.data.tables import TableFile, read_table, read_text, require_columns
from pretrain.text.encoding import Encoding
from tests.conftest import DATA

CORONA = DATA / "corona_nlp" / "Corona_NLP_train.csv.xz"
PAGE = "text,label\r\nhello,0\r\n"
gzipped = partial(gzip.compress, mtime=0)  # else a test's name would hold the time


@pytest.fixture
def write(tmp_path):
    """`write("a.csv", text or bytes)` makes a file."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def read(path: Path, **options) -> tuple[TableFile, list[str]]:
    """(the table, the notes of reading it)."""
    encoding = Encoding(**options)
    return read_table(path, encoding=encoding), encoding.notes


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


def test_windows_characters_that_went_through_latin_1_are_repaired_and_counted(write):
    garbled = "it’s “so” … 5 € – café".encode("cp1252").decode("latin-1")
    path = write("a.tsv", f"text\n{garbled}\ncafé\nodd \x81\n")
    table, (note,) = read(path)
    assert [row["text"] for row in table.rows] == ["it’s “so” … 5 € – café", "café", "odd \x81"]
    assert note.startswith("a.tsv: 1 of 3 rows held Windows-1252 characters as control characters")
    table, notes = read(path, repairs=False)
    assert [row["text"] for row in table.rows] == [garbled, "café", "odd \x81"] and not notes


def test_rows_that_are_cut_inside_a_character_are_counted(write):
    path = write("a.csv", "text,label\nwhole é,0\ncut ".encode() + b"\xc3,1\n")
    table, (note,) = read(path, most_bad=0.5)
    assert [row["text"] for row in table.rows] == ["whole é", "cut \ufffd"]
    assert note == (
        "a.csv: 1 of 2 rows end inside a character (an incomplete one of UTF-8), shown as U+FFFD"
    )


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
    assert note.startswith("a.jsonl: 1 of 2 rows hold half of a surrogate pair")


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


SENTENCES = {
    "cp1252": [
        "It’s a “great” day – isn’t it…",
        "The café was closed",
        "a naïve résumé",
        "5 € only",
    ],
    "cp949": [
        "오늘은 날씨가 정말 좋네요",
        "이 영화는 최고였다 그러나 길다",
        "재미없다 돈이 아깝다",
    ],
    "cp932": ["今日はとても良い天気ですね", "この映画は最高だった", "つまらないお金の無駄"],
    "gb18030": ["今天天气很好", "这部电影非常好看", "太无聊了浪费钱"],
    "koi8_r": ["Сегодня хорошая погода", "Этот фильм был лучшим", "Скучно и жаль денег"],
}


@pytest.mark.parametrize("name", SENTENCES)
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json"])
def test_a_table_in_another_encoding_is_refused_by_its_name_and_read_by_it(write, name, suffix):
    texts = SENTENCES[name] * 10
    if suffix == "jsonl":
        content = "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)
    elif suffix == "json":
        content = json.dumps([{"text": t} for t in texts], ensure_ascii=False)
    else:
        content = "\n".join(["text", *texts])
    path = write(f"a.{suffix}", content.encode(name))
    with pytest.raises(InputError, match=f"bytes that are not UTF-8 .*set task.encoding={name};"):
        read_table(path)
    table, notes = read(path, name=name)
    assert [row["text"] for row in table.rows] == texts and not notes
    table, notes = read(path, most_bad=1.0)
    bad = sum("\ufffd" in row["text"] for row in table.rows)
    assert bad == len(texts) and f"{bad} of {bad} rows hold bytes that are not UTF-8" in notes[0]


def test_one_row_in_a_hundred_may_hold_bad_bytes(write):
    rows = [b"naive"] * 198 + [b"na\xefve"] * 2
    table, (note,) = read(write("a.csv", b"\n".join([b"text", *rows])))
    assert [row["text"] for row in table.rows[-3:]] == ["naive", "na\ufffdve", "na\ufffdve"]
    assert note == "a.csv: 2 of 200 rows hold bytes that are not UTF-8, shown as U+FFFD"
    path = write("b.csv", b"\n".join([b"text", *rows[1:]]))
    with pytest.raises(InputError) as error:
        read_table(path)
    assert str(error.value) == (
        f"{path}: 2 of 199 rows hold bytes that are not UTF-8 (the first: row 198, byte 0xef): it "
        "seems to be cp1252 ('naïve'): set task.encoding=cp1252; task.most_bad_rows=0.02 lets them "
        "pass, each as U+FFFD"
    )
    assert len(read(path, most_bad=0.02)[0].rows) == 199
    with pytest.raises(InputError):
        read(write("a.csv", b"\n".join([b"text", *rows])), most_bad=0.0)


def test_a_replacement_character_of_the_file_itself_is_no_bad_byte(write):
    table, notes = read(write("a.csv", "text\nodd \ufffd\n"))
    assert table.rows == [{"text": "odd \ufffd"}] and not notes


def test_bad_bytes_in_the_name_of_a_column_are_refused(write):
    path = write("a.csv", "größe,text\n1,a\n2,b\n".encode("cp1252"))
    with pytest.raises(
        InputError, match=r"names of columns hold bytes that .*\(the first: the header"
    ):
        read_table(path)
    assert read(path, name="cp1252")[0].columns == ["größe", "text"]


def test_nul_characters_are_counted(write):
    path = write("a.csv", "text\na\0b\n")
    with pytest.raises(InputError, match="1 of 1 rows hold NUL characters"):
        read_table(path)
    table, notes = read(path, most_bad=1.0)
    assert table.rows == [{"text": "a\ufffdb"}] and "NUL" in notes[0]


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
        ("a.csv.bz2", bz2.compress(PAGE.encode() * 99)[:-9], r"a\.csv\.bz2: damaged or cut off"),
        ("a.csv", "text,label\n", r"a\.csv: no rows"),
        ("a.csv", "", r"a\.csv: no rows"),
        ("a.json", "[]", r"a\.json: no rows"),
        ("a.xlsx", "x", r"a\.xlsx: unknown kind of table"),
        ("a.csv.gz", gzipped(PAGE.encode() * 99)[:-9], r"a\.csv\.gz: damaged or cut off"),
        ("a.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff", r"a\.csv\.gz: damaged"),
        ("a.csv.xz", lzma.compress(PAGE.encode() * 99)[:-9], r"a\.csv\.xz: damaged or cut off"),
        ("a.csv.xz", PAGE, r"a\.csv\.xz: damaged or misnamed, is not compressed"),
        ("a.csv", gzipped(PAGE.encode()), r"a\.csv: is a \.gz file by its first bytes"),
        ("a.csv.xz", lzma.compress(PAGE.encode()) * 2 + b"more", r"a\.csv\.xz: damaged or cut off"),
    ],
)
def test_broken_files_are_named(write, name, content, message):
    with pytest.raises(InputError, match=message):
        read_table(write(name, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.csv: no such file: check task\.folder"):
        read_text(tmp_path / "a.csv", Encoding().decoder("a.csv"))


@pytest.mark.parametrize(
    ("ending", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)]
)
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


@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.jsonl"])
def test_an_object_a_line_is_read_whatever_the_file_is_called(tmp_path, name):
    (tmp_path / name).write_text('{"text": "a\\nb", "n": {}}\n{"text": "c", "n": 1}\n')
    assert [row["text"] for row in read_table(tmp_path / name).rows] == ["a\nb", "c"]


def test_what_is_odd_in_a_header_is_shown(tmp_path):
    (tmp_path / "a.csv").write_text("id, text\n1, a\n")
    with pytest.raises(InputError, match=r"task.text to one of id, ' text'$"):
        require_columns(read_table(tmp_path / "a.csv"), ["text"], "task.text")
    (tmp_path / "b.csv").write_text("id;text\n1;a\n")
    with pytest.raises(InputError, match=r"id;text \(one cell: put commas between cells in .csv"):
        require_columns(read_table(tmp_path / "b.csv"), ["text"], "task.text")


def test_nan_is_an_empty_cell_as_null_is(write):
    table, _ = read(write("a.jsonl", '{"a": NaN, "b": "NaN"}\n{"a": null, "b": 1.50}\n'))
    assert table.rows == [{"a": "", "b": "NaN"}, {"a": "", "b": "1.50"}]
