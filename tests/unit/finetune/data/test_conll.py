"""CoNLL's columns, and KLUE's, whose rows are characters."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from finetune.data.conll import read_conll
from tests.conftest import DATA

KLUE = DATA / "klue_dev" / "klue-ner-v1.1_dev.tsv"


@pytest.fixture
def read(tmp_path):
    """`read(text)` reads a file of that content."""

    def make(text: str):
        path = tmp_path / "a.tsv"
        path.write_text(text, encoding="utf-8", newline="")
        return read_conll(path)

    return make


def shown(sentences) -> list[list[tuple[str, str]]]:
    return [list(zip(sentence.words, sentence.labels)) for sentence in sentences]


def test_blank_lines_end_sentences_and_the_last_column_is_the_label(read):
    text = "\n-DOCSTART- -X- O O\n\nEU NNP B-ORG\nrejects VB O\n\n\nPeter NN B-PER\r\nB NN I-PER"
    first, second = read(text)
    assert shown([first, second]) == [
        [("EU", "B-ORG"), ("rejects", "O")],
        [("Peter", "B-PER"), ("B", "I-PER")],
    ]
    assert first.where.endswith("a.tsv, line 4") and second.where.endswith("a.tsv, line 8")


def test_spaces_are_words_where_columns_are_cut_at_tabs(read):
    text = "## id-1\t<가:PS> 나\n가\tB-PS\r\n \tO\n나\tO\n\n## id-2\tx\n#\tO\n##\tO\n"
    assert shown(read(text)) == [
        [("가", "B-PS"), (" ", "O"), ("나", "O")],
        [("#", "O"), ("##", "O")],
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word", r"line 3: 'word' has no label"),
        ("word ORG", r"line 3: the label 'ORG' is neither O nor B-... nor I-...: convert"),
        ("word OTHER", r"line 3: the label 'OTHER' is neither"),
        ("word B-", r"line 3: the label 'B-' is neither"),
        (" \t", r"line 3: the label '' is neither"),
        ("word\t", r"line 3: the label '' is neither"),
        ("\tO", r"line 3: .* has no word"),
    ],
)
def test_a_wrong_line_is_named(read, line, message):
    with pytest.raises(InputError, match=message):
        read(f"fine O\n\n{line}\n")


def test_a_file_without_sentences_is_refused(read):
    with pytest.raises(InputError, match="no sentences"):
        read("\n## comment\n\n")


@pytest.mark.skipif(not KLUE.is_file(), reason="needs KLUE's named entities")
def test_klue():
    sentences = read_conll(KLUE)
    assert len(sentences) == 5000
    assert {label for sentence in sentences for label in sentence.labels} == {
        "O",
        *(f"{mark}-{kind}" for mark in "BI" for kind in ("PS", "LC", "OG", "DT", "TI", "QT")),
    }
    assert "".join(sentences[0].words).startswith("경찰은 또 성매매 알선 자금을 관리한 박씨의")
