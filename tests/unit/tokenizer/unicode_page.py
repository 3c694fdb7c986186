"""A page of Unicode: scripts, marks, emoji, controls, and what else tokenizers stumble over."""

from __future__ import annotations

import unicodedata

LINES = [
    "",
    " ",
    "The QUICK brown Fox's can't, won't; it's 3.14 and 1,000!",
    "naïve CAFÉ Ångström ÀÉÎÕÜ ßẞ ŒæØ ŁłĐđ İIıi ΣΑΣ ς",
    "cafe\u0301 A\u030angstro\u0308m a\u0300\u0316\u0327 x\u20dd",
    "über größe Straße GROẞE Äpfel Öl",
    "한국어 모델을 공유합니다. ㅋㅋㅋ ㅠㅠ 값 ㄳ \u1112\u1161\u11ab",
    "日本語のテキスト がぎぐ ｶﾞｷﾞ か\u3099 東京 tower ，。「」",
    "中文文本，没有空格。繁體 \u3400\u4db5 \U00020000 \uf900",
    "Привет Ёж йод Київ ЂЋ Ѐ",
    "Ελληνικά ΆΈΉ ϊΐ ἀᾳ",
    "שָׁלוֹם עֲלֵיכֶם \u05d0\u05bc",
    "السَّلامُ عَلَيكُم ٱلله لا \u0640\u0651",
    "नमस्ते क्षि हिन्दी বাংলা தமிழ் తెలుగు ไทยภาษา ລາວ ខ្មែរ မြန်မာ",
    "አማርኛ ქართული Հայերեն Tiếng Việt ữ ệ",
    "🤗🤗 👍🏽 👩‍👩‍👧 🇰🇷 ☺️ ❤ 1️⃣ ©®™",
    "a\u200bb c\u200dd e\u00adf g\u2060h \ufeffi j\u200e\u200fk",
    "tab\tnew\nline\r\nfeed\x0cvt\x0bend \x85 \u2028 \u2029 x",
    "\x00 \x01 a\x07b \x1b[0m \x7f \x9f \ufffd \ufffe",
    "\u00a0no\u00a0break \u3000wide\u3000 \u1680 \u2003em \u202f \u205f",
    "Ａ①Ⅳ ﬁ ² ½ ㎏ ℃ ™ ㈜ ﾊﾝｶｸ",
    "\ue000private\uf8ff \U000f0000 \U0010fffd",
    "``quoted'' \u201ccurly\u201d \u2018x\u2019 \u00abg\u00bb -- \u2014 \u2026 ...",
    "http://example.com/?a=b&c=[d]#e @user #tag_1 $5.00 €3 a_b a^b `c` ~ | \\ {}",
    "x" * 101 + " " + "ab" * 60,
    "𝒜𝓫𝔠 𝟘𝟙 ǅ ǆ Ǆ ŉ ǰ ᾖ",
]


def page() -> list[str]:
    """The lines above, and every 97th assigned character between letters."""
    some = [chr(code) for code in range(1, 0x30000, 97) if not 0xD800 <= code < 0xE000]
    assigned = [c for c in some if unicodedata.category(c) != "Cn"]
    return [*LINES, *(f"a{c}b {c} É{c}" for c in assigned)]


def letters() -> list[str]:
    """Every character of the page in all its forms, for vocabularies that miss little."""
    text = "".join(page())
    forms = (text, text.lower(), text.upper(), unicodedata.normalize("NFD", text + text.lower()))
    return sorted({c for form in forms for c in form if not c.isspace()})
