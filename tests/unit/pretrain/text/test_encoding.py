"""Bytes become the text that they are, and what is no text is counted, named, or refused."""

from __future__ import annotations

import codecs
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from configs.errors import InputError
from pretrain.text.encoding import Encoding, lines_of, propose

WHOLE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"))


def plain(content: bytes, **options) -> str:
    decoder = Encoding(most_bad=1.0, **options).decoder("a.txt")
    return decoder.plain([decoder.text(content)])[0]


@given(WHOLE)
def test_utf_8_is_read_as_it_is(text):
    assert plain(text.encode()) == plain(codecs.BOM_UTF8 + text.encode()) == text


@given(st.binary())
@example(b"\xe1\x80\x00")  # a beginning, then NUL: two U+FFFD, not three
@example(b"\x00\xf0\x9f\x98")
def test_other_bytes_become_what_the_standard_makes_of_them(content):
    """One U+FFFD for each longest beginning of a character, as in browsers and in Python."""
    content = b"text " + content
    assert plain(content) == content.decode("utf-8", "replace").replace("\0", "\ufffd")


@pytest.mark.parametrize("name", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("told", [None, "cp1252"])
def test_a_byte_order_mark_outranks_what_was_told(name, told):
    encoding = Encoding(told)
    decoder = encoding.decoder("folder/a.txt")
    assert decoder.plain([decoder.text("가나 é".encode(name))]) == ["가나 é"]
    if told or name != "utf-8-sig":
        (note,) = encoding.notes
        assert note.startswith("a.txt: read as UTF-") and "byte order mark" in note
        assert ("not as task.encoding=cp1252" in note) == bool(told)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cp1252", "“naïve” – 5 €"),
        ("latin-1", "naïve"),
        ("cp949", "똠방각하 펲시콜라"),
        ("euc-kr", "한국어"),
        ("shift_jis", "表示ソース"),
        ("gb18030", "中文𠀀"),
        ("koi8-r", "Привет"),
        ("utf-16-le", "가나 é"),
    ],
)
def test_a_named_encoding_is_read(name, text):
    assert plain(text.encode(name), name=name) == text


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"cut \xec\x98", None, "cut"),
        (b"cut \xc2", None, "cut"),
        (b"caf\xe9 au lait", None, "bytes"),
        (b"it\x92s", None, "bytes"),
        ("가나".encode("cp949")[:-1], "cp949", "cut"),
        (b"a\x81b", "cp1252", "bytes"),
        (b"end \x81", "cp1252", "bytes"),
        (b"a\0b", None, "nul"),
    ],
)
def test_what_is_wrong_is_named_rightly(content, name, kind):
    decoder = Encoding(name, most_bad=1.0).decoder("a.txt")
    decoder.plain([decoder.text(content)])
    assert dict(decoder.kinds) == {kind: 1} and decoder.bad == 1


def test_a_file_of_another_encoding_than_told_is_refused():
    content = "été à Paris, là-bas, où déjà l'été".encode()
    with pytest.raises(InputError, match=r"a\.txt: this file is UTF-8, not cp1252"):
        Encoding("cp1252").decoder("a.txt").text(content)


def test_a_stream_is_decoded_as_it_comes():
    reader = io.BufferedReader(io.BytesIO("é\n".encode() * 3))
    decoder = Encoding().decoder("typed", "line")
    lines = lines_of(decoder.open(reader))
    assert [decoder.plain([line]) for line in lines] == [["é"]] * 3


def test_a_stream_is_refused_once_there_are_rows_enough():
    decoder = Encoding().decoder("typed", "line")
    decoder.plain(["bad \udce9."])
    decoder.check_early()
    for _ in range(98):
        decoder.plain(["good"])
    decoder.plain(["bad \udce9."])
    with pytest.raises(InputError, match="typed: 2 of 100 lines hold bytes that are not UTF-8"):
        decoder.check_early()


def test_rows_that_are_cut_need_another_file_and_no_other_encoding():
    decoder = Encoding().decoder("a.csv")
    decoder.plain(["cut \udcec\udc98"])
    with pytest.raises(InputError) as error:
        decoder.check()
    assert str(error.value) == (
        "a.csv: 1 of 1 rows end inside a character (an incomplete one of UTF-8) (the first: row 1, "
        "byte 0xec): fetch or write the file anew; task.most_bad_rows=1 lets them pass, each as "
        "U+FFFD"
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\rb\r", ["a", "b"]),
        ("a\rb\nc", ["a\rb", "c"]),
        ("a\u2028b\x85c\x0bd\n", ["a\u2028b\x85c\x0bd"]),
        ("a\n\n\nb", ["a", "", "", "b"]),
        ("", []),
    ],
)
def test_lines(text, lines):
    assert list(lines_of(io.StringIO(text))) == lines


def test_code_pages_that_read_alike_are_proposed_by_the_commonest():
    english = "It’s “so”. The café is naïve, isn’t it – we don’t know… ".encode("cp1252")
    polish = "Zażółć gęślą jaźń. Święta są w grudniu, łąka i źdźbło. ".encode("cp1250")
    assert propose(english * 3) == "cp1252" and propose(polish * 3) == "cp1250"
