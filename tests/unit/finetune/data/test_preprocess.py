"""Each step does what its name says, once is enough, and words of all scripts stay whole."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.finetune_schema import PRESETS, STEPS, PreprocessConfig
from finetune.data.preprocess import FUNCTIONS, Preprocessor, stop_words

EXAMPLES = {
    "entities": [
        ("a &amp; b &lt;3 &#39;", "a & b <3 '"),
        ("twice &amp;amp;amp; escaped", "twice & escaped"),
        ("R&D", "R&D"),
    ],
    "lowercase": [("HeLLo ÄÖ 한국", "hello äö 한국")],
    "links": [
        ("see https://t.co/x?y=1#z now", "see   now"),
        ("HTTP://A.B and www.c.d/e.", "  and  "),
        ("glued:https://t.co/x", "glued: "),
        ("awww.so cute", "awww.so cute"),
    ],
    "mentions": [
        ("@a_1 hi .@b! me@x.org", "  hi . ! me@x.org"),
        ("@one@two go", "  go"),
        ("@ home", "@ home"),
    ],
    "hashtags": [("a #b c#d # e", "a   c  # e"), ("#हिन्दी x", "  x")],
    "hashtag-words": [
        ("#covid is #No1 #", "covid is No1 #"),
        ("##twice #one#two", "twice one two"),
    ],
    "trailing-hashtags": [
        ("the #virus came #covid19 #stayhome", "the virus came"),
        ("we wait.\r\r\n\r\r\n#a\r\r\n #b_c  #d!", "we wait."),
        ("read this #a https://t.co/x #b", "read this"),
        ("so #a, #b. #c 😀", "so"),
        ("#first stays, #inner too", "first stays, inner too"),
        ("end #a#b", "end"),
        ("#1 and#2 done", "1 and 2 done"),
        ("#all #gone", ""),
        ("no tag here!", "no tag here!"),
    ],
    "numbers": [("3,000.5 of 12 in 2020.", "  of   in  ."), ("covid19", "covid ")],
    "punctuation": [
        ("don't stop_me, 'ok' it’s – fine", "dont stop me   ok  its   fine"),
        ("हिन्दी, नमस्ते!", "हिन्दी  नमस्ते "),
        ("e\u0301t\u0301e ㅋㅋ~", "e\u0301t\u0301e ㅋㅋ "),
    ],
    "emoji": [
        ("ok 😀!", "ok  !"),
        ("family 👨‍👩‍👧‍👦 here", "family   here"),
        ("flag 🇰🇷 hand 👍🏽 heart ❤️ key 1️⃣ .", "flag   hand   heart   key   ."),
        ("1 # * ㅋㅋ ㅠㅠ", "1 # * ㅋㅋ ㅠㅠ"),
    ],
    "stop-words": [("The cat and  THE dog", "cat dog"), ("theory", "theory")],
    "spaces": [("  a \r\n\t b\u00a0c ", "a b c")],
}
FRAGMENTS = """# ## @ &amp; &amp;lt; amp; &#35; http:// https://t.co/x www. .com a B İ ß 9 , ' ’ _ -
    the i'm é e\u0301 한국 ㅋ हिन्दी ❤️ 👨‍👩‍👧 🇰🇷 🇰 1️⃣ 👍🏽 \ufe0f \u200d"""
PIECES = st.sampled_from([*FRAGMENTS.split(), " ", "\r\n", "\u00a0"])
TEXTS = st.lists(PIECES | st.characters(exclude_categories=("Cs",)), max_size=12).map("".join)


def test_every_step_has_examples():
    assert EXAMPLES.keys() == FUNCTIONS.keys() == set(STEPS)


@pytest.mark.parametrize(
    ("step", "text", "plain"), [(step, *pair) for step in EXAMPLES for pair in EXAMPLES[step]]
)
def test_examples(step, text, plain):
    assert FUNCTIONS[step](text) == plain


@given(TEXTS)
def test_taking_a_step_twice_changes_nothing_more(text):
    for name, step in FUNCTIONS.items():
        once = step(text)
        assert step(once) == once, name


@given(TEXTS)
def test_what_a_step_removes_is_gone(text):
    assert not any(c.isspace() and c != " " for c in FUNCTIONS["spaces"](text))
    assert not any(c.isdecimal() for c in FUNCTIONS["numbers"](text))
    assert all(
        c.isspace() or c.isalnum() or not c.isascii() for c in FUNCTIONS["punctuation"](text)
    )
    letters = [c for c in text if c.isalnum()]
    assert [c for c in FUNCTIONS["punctuation"](text) if c.isalnum()] == letters


TWEET = "@me RT: Don't panic&amp;buy 😀 in #London, 12 DAYS left https://t.co/x #covid #shop"


def test_the_preset_for_transformers_keeps_case_numbers_and_inner_hashtags():
    clean = Preprocessor(PreprocessConfig(preset="transformer"))
    assert clean(TWEET) == "me RT Dont panic buy in London 12 DAYS left"


def test_the_classical_preset_keeps_content_words():
    clean = Preprocessor(PreprocessConfig(preset="classical"))
    assert clean(TWEET) == "rt dont panic buy london days left covid shop"


def test_the_preset_none_keeps_all():
    assert Preprocessor(PreprocessConfig())(TWEET) == TWEET


@pytest.mark.parametrize("preset", PRESETS)
@given(text=TEXTS)
def test_presets_can_be_repeated(preset, text):
    clean = Preprocessor(PreprocessConfig(preset=preset))
    assert clean(clean(text)) == clean(text)


def test_own_steps_replace_the_preset_and_keep_their_order():
    config = PreprocessConfig(preset="classical", steps=["hashtag-words", "trailing-hashtags"])
    assert Preprocessor(config)("A #b") == "A b"
    swapped = PreprocessConfig(steps=["trailing-hashtags", "hashtag-words"])
    assert Preprocessor(swapped)("A #b") == "A"


def test_nltk_s_stop_words_are_all_there_and_no_others() -> None:
    words = stop_words("nltk")
    assert len(words) == 179 and all(word == word.lower() and word for word in words)
    assert {"i", "don't", "should've", "ma", "wouldn", "not", "no", "very"} <= words
    assert not words & {"empty", "cannot", "serious", "#", "fire", "system"}


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ("nltk", "shelves empty, cannot go serious"),
        ("scikit-learn", "don't shelves empty,"),
        ("none", "don't The shelves are empty, I cannot go serious"),
    ],
)
def test_the_list_of_stop_words_is_chosen_by_name(chosen: str, left: str) -> None:
    config = PreprocessConfig(steps=["stop-words"], stop_words=chosen)
    assert Preprocessor(config)("don't The shelves are empty, I cannot go serious") == left


def test_the_apostrophe_of_a_stop_word_may_be_a_quote() -> None:
    assert Preprocessor(PreprocessConfig(steps=["stop-words"]))("I don’t GO, they Won’t") == "GO,"


def test_steps_are_told_with_their_list() -> None:
    assert PreprocessConfig(steps=["links", "stop-words"]).words == "links, stop-words (nltk)"
    without = PreprocessConfig(steps=["links", "stop-words"], stop_words="none")
    assert without.words == "links" and without.names == ("links",)
    assert PreprocessConfig().words == "none"


def test_an_unknown_step_is_refused():
    with pytest.raises(InputError, match="no step is called"):
        PreprocessConfig(steps=["links", "magic"])


def test_short_texts_are_those_with_fewer_words():
    clean = Preprocessor(PreprocessConfig(minimum_words=3))
    assert clean.is_short("two words") and not clean.is_short("three words here")
    assert not Preprocessor(PreprocessConfig()).is_short("")


@pytest.mark.parametrize("text", ["#a " * 300 + "x", "#" * 3000, "#a http://b/// " * 200 + "x y"])
def test_long_rows_of_hashtags_end_in_time(text):
    started = time.monotonic()
    for step in FUNCTIONS.values():
        step(text)
    assert time.monotonic() - started < 10
