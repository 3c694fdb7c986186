"""Text of others on terminals and in Markdown."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from configs.system.safe_text import (
    Markup,
    Spreadsheet,
    VisibleStream,
    first_hidden,
    json_text,
    markdown,
    visible,
)

HIDDEN = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010)]
HIDDEN += [*range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xFFF9, 0xE0041, 0xD83D]
ORDINARY = (
    "한국어 ㅋㅋ ᄒᆞᆫ글",
    "cafe\u0301 ä\u0308 x\u20d7",
    "👩\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 👍🏽 1\ufe0f\u20e3 🇰🇷",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "क्\u200dष می\u200cخواهم שלום",
    "a\u00a0b\u3000c\\d",
)
ANY = st.text(st.characters(), max_size=40)  # lone surrogates too
MARKUP = st.text(st.sampled_from("a `|\\*_[]()<>!#-=+&;:@/.www1~$\n\"'"), max_size=40)


@pytest.mark.parametrize("code", HIDDEN, ids=hex)
def test_what_cannot_be_seen_is_written_out(code):
    shown = visible(f"a{chr(code)}b")
    assert shown.startswith("a\\") and shown.endswith("b") and shown.isascii()
    assert first_hidden(f"한{chr(code)}") == shown[1:-1]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text):
    assert visible(text) == text
    assert first_hidden(text) is None


def test_joiners_without_anything_to_join_are_shown():
    for text in ("a\u200db", " \u200d ", "한\u200d\u202e\u200d"):
        assert visible(text) == ascii(text)[1:-1].replace(r"\ud55c", "한")


def test_lines_stay_lines_where_that_is_asked_for():
    assert visible("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"


@given(ANY)
def test_nothing_hidden_is_left(text):
    assert first_hidden(visible(text)) is None
    assert len(visible(text).splitlines()) <= 1
    visible(text).encode()


@pytest.mark.parametrize("text", ["positive", "very_positive", "(a) b/c, 한국어: 3 %", "-1.5"])
def test_plain_text_is_plain_markdown(text):
    assert markdown(text) == text


@pytest.mark.parametrize(
    "text",
    ["<b>", "![](http://x)", "a|b", "`", "__a__", "http://x", "www.x.org", "1. a", "- a", "&lt;"],
)
def test_markup_is_shown_as_code(text):
    assert markdown(text)[0] == "`"


@given(ANY | MARKUP)
def test_markdown_shows_the_text_and_nothing_else(text):
    parser = MarkdownIt("commonmark", {"linkify": False}).enable("table")
    shown = " ".join(visible(text).split())
    (paragraph,) = [t for t in parser.parse(f"x {markdown(text)} x") if t.type == "inline"]
    assert "".join(t.content for t in paragraph.children).split() == f"x {shown} x".split()
    assert {t.type for t in paragraph.children} <= {"text", "code_inline"}
    table = parser.parse(f"| a | b |\n| --- | --- |\n| {markdown(text, in_table=True)} | x |")
    cells = [token for token in table if token.type == "inline"]
    assert len(cells) == 4 and cells[-1].content == "x"
    found = "".join(t.content for t in cells[2].children).replace("\\x5c", "\\")
    assert found.split() == shown.replace("\\x5c", "\\").split()


def test_markup_of_our_own_stays():
    assert markdown(Markup("**a**")) == "**a**"
    assert markdown("−0.12 [−0.20, −0.05], 5 %") == "−0.12 [−0.20, −0.05], 5 %"


@given(ANY)
def test_json_reads_back_and_can_be_seen(text):
    written = json_text({"a": [text]})
    assert json.loads(written) == {"a": [text]}
    assert first_hidden(written.replace("\n", "")) is None


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp949"])
def test_a_stream_shows_everything(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    print("a\x1b[2J\ud83d\tb\r\n한 é 😀", file=VisibleStream(stream), flush=True)
    shown = stream.buffer.getvalue().decode(encoding)
    assert shown.startswith("a\\x1b[2J\\ud83d\tb\\r\n") and shown.count("\n") == 2


def test_formulas_are_text_and_counted():
    safe = Spreadsheet()
    kept = ["a=1", "-1.5e3", "+2", -3.0, 4, "", None, " =1"]
    assert list(map(safe, kept)) == kept and safe.note == ""
    assert list(map(safe, ["=1+1", "-a", "@x", "\t=", "＝1"])) == [
        "'=1+1",
        "'-a",
        "'@x",
        "'\t=",
        "'＝1",
    ]
    assert safe.note.startswith("5 cells ")
