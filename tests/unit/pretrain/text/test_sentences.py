"""Sentence splitting: one row per rule, and nothing is ever lost."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Iterator
from itertools import accumulate, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.text.sentences import split_sentences
from tests.conftest import DATA

ENGLISH = [
    "One ends here.|Two follows.",
    "Really?|Yes!|Well...|Then go.",
    "Dr. J. R. Smith met Mrs. Jones.|They spoke.",
    "She paid $3.50 for it.|He paid 2.",
    'He said "no."|Then he left.',
    '"Is that so?" she asked.|"Yes."',
    "It ended (at last.)|Peace came.",
    "See Fig. 3 and No. 7.|The end.",
    "Say no.|Mean it.",
    "Use e.g. Python or C, i.e. a language.|Good.",
    "Acme Inc. Tokyo sells it.|Acme Inc.|The firm grew.",
    "Rome vs. Carthage was ca. 264.|Rome won.",
    "The U.S. Army came at 5 p.m.|Then it left.",
    "It was 1990.|Five years went by.",
    "1. Install it.|2. Run it.",
    "Call foo.bar() or a.b. now.|Done.",
    "이것은 text.|English도 있다.",
    "What?!|No...|He left…|Fine!!|It ended.",
    'He (she too.)|They said [so.]|"Go!"|«Oui.»|We went.',
    "वह आया।|वह गया।|क्या؟|ہاں۔|ठीक।",
    "no full stop at all",
]
SMALL = [
    "one ends here.|two follows.|see it.",
    "really?|yes!|well... then go.",
    "dr. j. r. smith met mrs. jones.|they spoke.",
    "she paid $3.50 for it.|he paid 2.",
    'he said "no."|then he left.',
    '"is that so?" she asked.|"yes."',
    "it ended (at last.)|peace came.",
    "see fig. 3 and no. 7.|the end.",
    "use e.g. python or c, i.e. a language.|good.",
    "acme inc. in tokyo sells it.|acme inc.|the firm grew.",
    "the u.s. army came at 5 p.m.|they left.",
    "rome vs. carthage was ca. 264.|rome won.",
]
CAPITALS = ["MR. SMITH CAME.|HE LEFT.", "THE U.S. ARMY CAME AT 5 P.M.|THEY LEFT.", "WHY?|BECAUSE."]
OF_ONE_CASE = [*SMALL, "über uns.|wir sind da.", *CAPITALS]
KOREAN = [
    "서울에 갔다.|재미있었어요!|또 갈까요?|네.",
    '"정말 갔다." 라고 말했다.|나는 웃었다.',
    '"왔어요?" 하고 물었다.|"네."|그는 말했다.',
    "(그는 갔다.)|하지만 다시 왔다.",
    "2009. 4. 29에 태어났다.|값은 3.14였다.",
    "정말…|그랬다.",
    "R. J. Rummel 교수가 왔다.|그는 갔다.",
]


@pytest.mark.parametrize("marked", ENGLISH)
def test_english_rules(marked: str) -> None:
    assert split_sentences(marked.replace("|", " "), "en") == marked.split("|")


@pytest.mark.parametrize("marked", OF_ONE_CASE)
def test_texts_without_capitals_or_without_small_letters(marked: str) -> None:
    expected = marked.split("|")
    assert split_sentences(marked.replace("|", " "), "en") == expected


def test_a_few_capitals_do_not_count() -> None:
    text = "one ends here. two follows. " * 20 + "A name."
    assert len(split_sentences(text, "en")) == 41
    assert len(split_sentences(text + " He left. She Came. I Saw. We Won.", "en")) < 10


@pytest.mark.parametrize("file", ["enwiki2014/heldout.jsonl.xz", "english_novels/heldout.jsonl.xz"])
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_a_text_of_one_case_has_the_same_sentences(file: str, change: Callable[[str], str]) -> None:
    """Where the ends fall, in characters without spaces; ß and others that change their length are
    left out."""
    if not (DATA / file).is_file():
        pytest.skip(f"needs the data set {file}")
    with lzma.open(DATA / file, "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"][:50_000] for line in islice(stream, 40)]
    found = [set(), set()]
    for number, text in enumerate(texts):
        changed = change(text)
        if len(changed) == len(text):
            for ends, form in zip(found, (text, changed)):
                ends |= {(number, end) for end in _ends(form)}
    both = len(found[0] & found[1])
    assert both > 0.95 * len(found[1]) and both > 0.98 * len(found[0]) > 1000


def _ends(text: str) -> Iterator[int]:
    return accumulate(len(s.replace(" ", "")) for s in split_sentences(text, "en"))


@pytest.mark.parametrize("marked", KOREAN)
def test_korean_rules(marked: str) -> None:
    assert split_sentences(marked.replace("|", " "), "ko") == marked.split("|")


def test_a_line_is_a_paragraph_and_ends_a_sentence() -> None:
    assert split_sentences("A heading\n\n  no full  stop\r\nEnd.\n", "en") == [
        "A heading",
        "no full stop",
        "End.",
    ]


def test_chinese_and_japanese_have_no_space_after_a_full_stop() -> None:
    text = "我来了。他走了！真的？是。他说“好。”然后走了。彼は「行く。」と言った｡"
    expected = [
        "我来了。",
        "他走了！",
        "真的？",
        "是。",
        "他说“好。”然后走了。",
        "彼は「行く。」と言った｡",
    ]
    assert split_sentences(text, "en") == expected


def test_blank_text_has_no_sentences() -> None:
    assert split_sentences(" \n\t\n", "ko") == []


PIECES = st.sampled_from(
    [*"aB3 .!?…\"'”(“)다。\n\u00a0\u2028\x85", "Dr.", "e.g.", ' "', "U.S. The", "라고"]
)


@given(text=st.lists(PIECES).map("".join), language=st.sampled_from(["en", "ko"]))
def test_joined_sentences_are_the_text_with_folded_whitespace(text: str, language: str) -> None:
    sentences = split_sentences(text, language)
    assert "".join(sentences).replace(" ", "") == "".join(text.split())
    if "。" not in text:
        assert " ".join(sentences) == " ".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)
