"""Sentence splitting: one row per rule, and nothing is ever lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.sentences import split_sentences

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
]
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


@pytest.mark.parametrize("marked", KOREAN)
def test_korean_rules(marked: str) -> None:
    assert split_sentences(marked.replace("|", " "), "ko") == marked.split("|")


def test_a_line_is_a_paragraph_and_ends_a_sentence() -> None:
    assert split_sentences("A heading\n\n  no full  stop\r\nEnd.\n", "en") == [
        "A heading",
        "no full stop",
        "End.",
    ]


def test_blank_text_has_no_sentences() -> None:
    assert split_sentences(" \n\t\n", "ko") == []


PIECES = st.sampled_from(
    [*"aB3 .!?…\"'”(“)다。\n\u00a0\u2028\x85", "Dr.", "e.g.", ' "', "U.S. The", "라고"]
)


@given(text=st.lists(PIECES).map("".join), language=st.sampled_from(["en", "ko"]))
def test_joined_sentences_are_the_text_with_folded_whitespace(text: str, language: str) -> None:
    sentences = split_sentences(text, language)
    assert " ".join(sentences) == " ".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)
