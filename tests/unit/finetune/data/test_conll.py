"""CoNLL's columns, and KLUE's, whose rows are characters."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from finetune.data.conll import Sentence, read_conll
from pretrain.text.encoding import Encoding
from tests.conftest import DATA

KLUE = DATA / "klue_dev" / "klue-ner-v1.1_dev.tsv"


@pytest.fixture
def read(tmp_path):
    """`read(text)` reads a file of that content; (sentences, notes)."""

    def make(text: str):
        path = tmp_path / "a.tsv"
        path.write_text(text, encoding="utf-8", newline="")
        return with_notes(path)

    return make


def with_notes(path) -> tuple[list[Sentence], list[str]]:
    encoding = Encoding()
    return read_conll(path, encoding), encoding.notes


def shown(sentences) -> list[list[tuple[str, str]]]:
    return [list(zip(sentence.words, sentence.labels)) for sentence in sentences]


def test_blank_lines_end_sentences_and_the_last_column_is_the_label(read):
    text = "\n-DOCSTART- -X- O O\n\nEU NNP B-ORG\nrejects VB O\n \n\nPeter NN B-PER\r\nB NN I-PER"
    (first, second), notes = read(text)
    assert shown([first, second]) == [
        [("EU", "B-ORG"), ("rejects", "O")],
        [("Peter", "B-PER"), ("B", "I-PER")],
    ]
    assert first.where.endswith("a.tsv, line 4") and second.where.endswith("a.tsv, line 8")
    assert notes == ["a.tsv: 1 lines that are no words (comments, -DOCSTART-) were left out"]


def test_a_new_document_ends_a_sentence(read):
    sentences, _ = read("a O\n-DOCSTART- O\nb O\n-DOCSTART-s O\n")
    assert shown(sentences) == [[("a", "O")], [("b", "O"), ("-DOCSTART-s", "O")]]


def test_spaces_are_words_where_columns_are_cut_at_tabs(read):
    text = "## id-1\t<가:PS> 나\n가\tB-PS\r\n \tO\n나\tO\n\t\n## id-2\tx\n#\tO\n##\tO\n"
    sentences, notes = read(text)
    assert shown(sentences) == [
        [("가", "B-PS"), (" ", "O"), ("나", "O")],
        [("#", "O"), ("##", "O")],
    ]
    assert notes == ["a.tsv: 2 lines that are no words (comments, -DOCSTART-) were left out"]


@pytest.mark.parametrize("line", ["## O", "# O", "#tag O", "## B-X", "-DOCSTART O", "#### O"])
@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("before", ["", "first O\n"])
def test_a_line_whose_last_cell_is_a_label_is_a_word(read, line, separator, before):
    word, label = line.split()
    [sentence], notes = read(
        f"{before}{word}{separator}{label}\nlast{separator}O\n".replace(
            "first O", f"first{separator}O"
        )
    )
    assert (word, label) in zip(sentence.words, sentence.labels) and not notes


@pytest.mark.parametrize(
    "comment",
    ["# sent_id = 4", "# id 12ab\tdomain=en", "## 주석 : ##", "#\thttp://a.org [2009-10-17]"],
)
def test_comments_of_the_published_formats_stand_before_a_sentence(read, comment):
    sentences, notes = read(f"{comment}\n{comment}\na _ _ O\nb _ _ B-X\n\n{comment}\nc _ _ O\n")
    assert shown(sentences) == [[("a", "O"), ("b", "B-X")], [("c", "O")]]
    assert "3 lines that are no words" in notes[0]


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2009", "\u200b", "\x0b", "\x1f", "\x85"])
@pytest.mark.parametrize("separator", [" ", "\t", "  "])
def test_spaces_other_than_the_plain_one_are_words(read, space, separator):
    words = [space, f"10{space}km", "b"]
    [sentence], notes = read("".join(f"{word}{separator}NN{separator}O\n" for word in words))
    assert sentence.words == tuple(words) and not notes


def test_a_line_of_another_space_ends_no_sentence(read):
    with pytest.raises(InputError, match="line 2: ' ' has no label"):
        read("a O\n\u3000\nb O\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_line_ends_of_all_systems(read, end):
    sentences, _ = read(end.join(["a NN B-X", "b NN I-X", "", "c NN O"]))
    assert shown(sentences) == [[("a", "B-X"), ("b", "I-X")], [("c", "O")]]


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_spaces_behind_a_label_are_no_part_of_it(read, separator):
    [sentence], notes = read(f"a{separator}O \nb{separator}B-X  \nc{separator}O\n")
    assert sentence.labels == ("O", "B-X", "O")
    assert notes == ["a.tsv: 2 labels had spaces behind them; they were cut"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word", r"line 3: 'word' has no label \(columns are cut at SEP\)"),
        ("## id", r"line 3: .* (has no label|label 'id' is neither)"),
        ("word|ORG", r"line 3: the label 'ORG' is neither O nor B-... nor I-...: convert"),
        ("word|OTHER", r"line 3: the label 'OTHER' is neither"),
        ("word|B-", r"line 3: the label 'B-' is neither"),
        ("word|S-PER", r"line 3: the label 'S-PER' is neither .*write S- and U- as B-"),
        ("word|L-PER", r"line 3: the label 'L-PER' is neither .*write S- and U- as B-"),
        ("word|VB|O", r"line 3: .* has 3 columns where line 1 has 2 \(columns are cut at SEP\)"),
        ("|O", r"line 3: .* has no word \(columns are cut at SEP\)"),
    ],
)
@pytest.mark.parametrize(("separator", "name"), [(" ", "spaces"), ("\t", "tabs")])
def test_a_wrong_line_is_named(read, line, message, separator, name):
    lines = "fine|O\nfine|O\n" + line
    with pytest.raises(InputError, match=message.replace("SEP", name)):
        read(lines.replace("|", separator))


@pytest.mark.parametrize("line", [" \t", "word\t", " ", "New York O"])
def test_a_wrong_line_between_tabs_is_named(read, line):
    with pytest.raises(InputError, match=r"line 2: .*(has no label|'' is neither)"):
        read(f"fine\tO\n{line}\nfine\tO\n")


def test_a_comment_inside_a_sentence_is_no_comment(read):
    with pytest.raises(InputError, match=r"line 2: .* has no label"):
        read("a\tO\n# text = b\nb\tO\n")


def test_a_misspelt_label_behind_a_hash_is_no_comment(read):
    with pytest.raises(InputError, match="line 3: the label 'ORG'"):
        read("a\tNN\tO\n\n#\tNN\tORG\n")


def test_a_column_of_numbers_is_not_taken_for_words(read):
    with pytest.raises(InputError, match="line 2: the first column numbers the words: remove it"):
        read("#\turl\n1\tPeter\tB-PER\n2\tsleeps\tO\n\n1\tYes\tO\n")
    [sentence], _ = read("1 CD O\n")
    assert sentence.words == ("1",)


def test_the_scheme_of_conll_2003_becomes_bio(read):
    rows = ["EU I-ORG", "and O", "Peter I-PER", "B I-PER", "Paul B-PER", "X I-ORG", "", "Y I-PER"]
    sentences, notes = read("\n".join(rows))
    assert [label for s in sentences for label in s.labels] == [
        *("B-ORG", "O", "B-PER", "I-PER", "B-PER", "B-ORG"),
        "B-PER",
    ]
    assert notes == [
        "a.tsv: entities begin with I- (the scheme IOB1, line 1); 4 labels were rewritten as B- "
        "(BIO)"
    ]


def test_labels_of_two_schemes_in_one_file(read):
    few = "\n\n".join(["a B-X\nb I-X"] * 99)
    sentences, notes = read(f"{few}\n\nc I-X\n")
    assert sentences[-1].labels == ("I-X",)
    assert notes == [
        "a.tsv: 1 of 100 entities begin with I-, the others with B- (the first in line 298); "
        "they count all the same"
    ]
    with pytest.raises(InputError, match=r"line 298: 'I-Y' follows no entity .* 2 of 100 entities"):
        read(few.replace("a B-X\nb I-X", "a O", 1) + "\n\n\nc I-Y\nd I-X\n")


def test_a_file_without_sentences_is_refused(read):
    with pytest.raises(InputError, match="no sentences"):
        read("\n## comment\n\n")


@pytest.mark.skipif(not KLUE.is_file(), reason="needs KLUE's named entities")
def test_klue_is_read_to_the_character():
    sentences, notes = with_notes(KLUE)
    expected: list[list[tuple[str, str]]] = [[]]
    for line in KLUE.read_bytes().decode().removesuffix("\n").split("\n"):
        if line[:3] == "## ":
            assert not expected[-1]
        elif line:
            assert line[1] == "\t"
            expected[-1].append((line[0], line[2:]))
        elif expected[-1]:
            expected.append([])
    assert shown(sentences) == [rows for rows in expected if rows]
    assert len(sentences) == 5000
    assert len({label for sentence in sentences for label in sentence.labels}) == 13
    assert notes == [
        f"{KLUE.name}: 5,005 lines that are no words (comments, -DOCSTART-) were left out"
    ]


def test_a_line_of_blanks_ends_a_sentence_whatever_blanks_they_are(tmp_path):
    (tmp_path / "a.txt").write_text("a O\n \t\nb O\n")
    sentences, _ = with_notes(tmp_path / "a.txt")
    assert [sentence.words for sentence in sentences] == [("a",), ("b",)]
