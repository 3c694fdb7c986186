"""Each step does what its name says, once is enough, and words of all scripts stay whole."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.task_schema import PRESETS, STEPS, PreprocessConfig
from finetune.data.preprocess import FUNCTIONS, Preprocessor, count_words, stop_words

EXAMPLES = {
    "entities": [
        ("a &amp; b &lt;3 &#39;", "a & b <3 '"),
        ("twice &amp;amp;amp; escaped", "twice & escaped"),
        ("R&D", "R&D"),
        ("cut off &amp", "cut off &"),
        ("?a=1&copy=2&region=us &notit; &para", "?a=1&copy=2&region=us &notit; &para"),
        ("&#x1F600; &#128512; &#150; &eacute;&#1;", "😀 😀 – é&#1;"),
    ],
    "lowercase": [("HeLLo ÄÖ 한국", "hello äö 한국")],
    "links": [
        ("see https://t.co/x?y=1#z now", "see   now"),
        ("HTTP://A.B and www.c.d/e.", "  and  ."),
        ("(see https://t.co/x), “https://t.co/y” or <http://a.b/c>!", "(see  ), “ ” or < >!"),
        ("https://en.wikipedia.org/wiki/Foo_(bar), [www.a.b/c]", " , [ ]"),
        ("https://t.co/x정말 좋다", " 정말 좋다"),
        ("リンクhttps://t.co/xです。", "リンク です。"),
        ("点www.a.cn/b。好", "点 。好"),
        ("https://한국.kr/a 그리고", "  그리고"),
        ("cut https:// and https://t.co/ab… or http://a.b…/c", "cut   and  … or  "),
        ("glued:https://t.co/x", "glued: "),
        ("awww.so cute", "awww.so cute"),
    ],
    "mentions": [
        ("@a_1 hi .@b! me@x.org", "  hi . ! me@x.org"),
        ("@kim정말 좋다", " 정말 좋다"),
        ("고마워@kim님, ＠leeさん", "고마워 님,  さん"),
        ("مرحبا @ali، شكرا", "مرحبا  ، شكرا"),
        ("josé@x.org a.b-c@x.co.kr @café", "josé@x.org a.b-c@x.co.kr @café"),
        ("@kim's 😀@lee😀", " 's 😀 😀"),
        (f"@{'a' * 31} @{'a' * 30}", f"@{'a' * 31}  "),
        ("@one@two go", "  go"),
        ("@ home", "@ home"),
    ],
    "hashtags": [
        ("a #b c#d # e", "a   c#d # e"),
        ("#हिन्दी x", "  x"),
        ("we are #1 in #2020 #2020vision", "we are #1 in #2020  "),
        ("#코로나#집콕 ＃コロナ です &#39;", "    です &#39;"),
    ],
    "hashtag-words": [
        ("#covid is #No1 #", "covid is No1 #"),
        ("##twice #one#two", "twice one two"),
        ("#코로나 ＃コロナ &#39;", "코로나 コロナ &#39;"),
    ],
    "trailing-hashtags": [
        ("the #virus came #covid19 #stayhome", "the virus came"),
        ("we wait.\r\r\n\r\r\n#a\r\r\n #b_c  #d!", "we wait."),
        ("read this #a https://t.co/x #b", "read this"),
        ("so #a, #b. #c 😀", "so 😀"),
        ("집에 있자 #집콕 👨‍👩‍👧 #코로나", "집에 있자 👨‍👩‍👧"),
        ("read (https://t.co/x) #a", "read (https://t.co/x)"),
        ("#a https://t.co/x정말", "a https://t.co/x정말"),
        ("#first stays, #inner too", "first stays, inner too"),
        ("end #a#b", "end"),
        ("#1 and#2 done", "1 and 2 done"),
        ("#all #gone", ""),
        ("no tag here!", "no tag here!"),
    ],
    "numbers": [
        ("3,000.5 of 12 in 2020.", "  of   in  ."),
        ("covid19", "covid "),
        ("١٢ ３ 1️⃣2 제19회", "    1️⃣  제 회"),
    ],
    "punctuation": [
        ("don't stop_me, 'ok' it’s – fine", "dont stop me   ok  its   fine"),
        ("हिन्दी, नमस्ते!", "हिन्दी  नमस्ते "),
        ("e\u0301t\u0301e ㅋㅋ~", "e\u0301t\u0301e ㅋㅋ "),
        ("don‘t can＇t ג׳ורג׳", "dont cant גורג "),
        ("می\u200cخواهم، क्\u200dष 👨\u200d👩", "می\u200cخواهم  क्\u200dष    "),
        ("auto\u00admatic \u200fسلام\u200e", "automatic سلام"),
        ("𑄌𑄋𑄴𑄟𑄳𑄦! が か\u3099 「日本」・ラーメン", "𑄌𑄋𑄴𑄟𑄳𑄦  が か\u3099  日本  ラーメン"),
    ],
    "emoji": [
        ("ok 😀!", "ok  !"),
        ("family 👨‍👩‍👧‍👦 here", "family   here"),
        ("flag 🇰🇷 hand 👍🏽 heart ❤️ key 1️⃣ .", "flag   hand   heart   key   ."),
        ("1 # * ㅋㅋ ㅠㅠ", "1 # * ㅋㅋ ㅠㅠ"),
        ("❤\ufe0f\u200d", " "),
        ("Nike® ©2020 ™ ‼ ㊗", "Nike® ©2020 ™ ‼ ㊗"),
        (
            "©️ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 🏳️‍🌈 👩🏽‍🚀 #️⃣",
            " " * 9,
        ),
    ],
    "stop-words": [("The cat and  THE dog", "cat dog"), ("theory", "theory")],
    "spaces": [("  a \r\n\t b\u00a0c ", "a b c")],
}
FRAGMENTS = """# ## @ ＠ ＃ &amp &copy &amp; &amp;lt; amp; &#35; http:// https://t.co/x www. .com
    a B İ ß 9 , ' ’ _ -
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
    numbers = FUNCTIONS["numbers"](text).replace("1️⃣", "")
    assert "\u20e3" in numbers or not any(c.isdecimal() for c in numbers)
    assert all(
        c.isspace() or c.isalnum() or not c.isascii() for c in FUNCTIONS["punctuation"](text)
    )
    letters = [c for c in text if c.isalnum()]
    assert [c for c in FUNCTIONS["punctuation"](text) if c.isalnum()] == letters


TRIGGERS = {
    "entities": "&",
    "links": "hHｈwWｗ",
    "mentions": "@＠",
    "hashtags": "#＃",
    "hashtag-words": "#＃",
}
"""what a step does not change a text without"""


@given(TEXTS)
def test_a_step_changes_nothing_else(text):
    for name, triggers in TRIGGERS.items():
        other = "".join(c for c in text if c not in triggers)
        assert FUNCTIONS[name](other) == other, name


PAGES = {
    "Korean": "오늘은 날씨가 정말 좋네요ㅋㅋ 값이 뷁",
    "Japanese": "今日はとても良い天気ですね ラーメン 々",
    "Chinese": "今天天气很好 𠀀",
    "Arabic": "مَرْحَبًا بالعالم",
    "Persian": "می\u200cخواهم کتاب\u200cها",
    "Hindi": "नमस्ते दुनिया क्\u200dष",
    "Thai": "สวัสดีชาวโลก น้ำ",
    "Hebrew": "שָׁלוֹם עולם",
    "Vietnamese": "Tiếng Việt e\u0302\u0301",
    "Greek": "Καλημέρα κόσμε",
    "Chakma": "𑄌𑄋𑄴𑄟𑄳𑄦",
}


@pytest.mark.parametrize("language", PAGES)
def test_words_of_every_language_stay_whole(language):
    text = PAGES[language]
    for name, step in FUNCTIONS.items():
        expected = text.lower() if name == "lowercase" else text
        assert step(text) == expected, name


@given(st.sampled_from(sorted(PAGES)), st.text("abc_123", min_size=1, max_size=15))
def test_a_handle_or_link_glued_to_a_word_leaves_the_word(language, name):
    word = PAGES[language].split()[0]
    if language not in ("Vietnamese",):  # Latin letters would continue the handle
        assert FUNCTIONS["mentions"](f"@{name}{word}") == f" {word}"
        assert FUNCTIONS["links"](f"https://t.co/{name}{word}") == f" {word}"


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two words", 2),
        ("오늘은 날씨가 좋다", 3),
        ("今日は良い", 5),
        ("covid今日。 ok !", 5),
        ("สวัสดี", 4),
        ("", 0),
    ],
)
def test_words_of_scripts_without_spaces_are_counted_by_letters(text, words):
    assert count_words(text) == words


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
