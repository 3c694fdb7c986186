"""Bytes that are no text are named and counted, and packed files are read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pytest

from configs.errors import InputError
from finetune.data.tables import read_table
from tests.unit.finetune.data.table_files import PAGE, read


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
    ("ending", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)]
)
def test_compressed_tables_are_read(write, ending, pack):
    path = write(f"a.part.csv.{ending}", pack(PAGE.encode()))
    assert read_table(path).rows == [{"text": "hello", "label": "0"}]
