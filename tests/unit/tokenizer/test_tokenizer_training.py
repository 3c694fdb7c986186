"""Training: presets, determinism, limits, and what each kind makes of text."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.schema import TokenizerConfig
from tests.unit.tokenizer.conftest import VOCABULARY_SIZE
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.training import train_tokenizer
from tokenizer.unigram import train_sentencepiece

KINDS = ("wordpiece", "byte-bpe", "sentencepiece")
ROOT = Path(__file__).resolve().parents[3]
FINGERPRINT = """
import sys
from configs.schema import TokenizerConfig
from tokenizer.training import train_tokenizer
texts = open(sys.argv[1], encoding="utf-8").read().split("\\n")
for kind in sys.argv[2:]:
    config = TokenizerConfig(kind=kind, vocabulary_size=1500, allow_smaller_vocabulary=True)
    print(train_tokenizer(config, texts).fingerprint)
"""


def config(kind: str, **changes: object) -> TokenizerConfig:
    return TokenizerConfig(kind=kind, **{"vocabulary_size": 600, **changes})


def test_two_processes_learn_the_same(
    prose: list[str], syllables: list[str], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(prose[:400] + syllables[:400]), encoding="utf-8")
    first, second = (_fingerprints(text, seed) for seed in (1, 2))
    assert len(set(first)) == len(KINDS)
    assert first == second


def _fingerprints(text: Path, hash_seed: int) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", FINGERPRINT, str(text), *KINDS]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("wordpiece", "[PAD] [UNK] [CLS] [SEP] [MASK]"),
        ("byte-bpe", "<s> <pad> </s> <unk> <mask>"),
        ("sentencepiece", "[UNK] [PAD] [CLS] [SEP] [MASK]"),
    ],
)
def test_special_tokens_come_first(trained: dict[str, Tokenizer], kind: str, first: str) -> None:
    tokenizer = trained[kind]
    assert tokenizer.pieces[:5] == first.split()
    by_role = "<s> </s> <pad> <mask> <unk>" if "<s>" in first else "[CLS] [SEP] [PAD] [MASK] [UNK]"
    assert [tokenizer.pieces[number] for number in tokenizer.special.ids] == by_role.split()


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_has_the_asked_size(trained: dict[str, Tokenizer], kind: str) -> None:
    assert trained[kind].vocabulary_size == VOCABULARY_SIZE
    assert len(set(trained[kind].pieces)) == VOCABULARY_SIZE


@pytest.mark.parametrize("kind", KINDS)
def test_text_never_makes_special_tokens(trained: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    forbidden = set(tokenizer.special.ids) - {tokenizer.special.unk}
    names = tokenizer.pieces[:5]
    for ids in tokenizer.encode_batch([*names, " ".join(names), "".join(names), "x[MASK]<mask>y"]):
        assert ids and forbidden.isdisjoint(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_a_vocabulary(kind: str, syllables: list[str]) -> None:
    large = config(kind, vocabulary_size=30_000)
    with pytest.raises(InputError, match=r"vocabulary_size=30000 but the text supports only \d+"):
        train_tokenizer(large, syllables[:400])
    allowed = config(kind, vocabulary_size=30_000, allow_smaller_vocabulary=True)
    assert 600 < train_tokenizer(allowed, syllables[:400]).vocabulary_size < 30_000


@pytest.mark.parametrize("kind", ["byte-bpe", "sentencepiece"])
def test_too_small_a_vocabulary(kind: str, syllables: list[str]) -> None:
    with pytest.raises(InputError, match=r"vocabulary_size=64 .* raise it"):
        train_tokenizer(config(kind, vocabulary_size=64), syllables[:400])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], ["", " \n"]])
def test_no_text(kind: str, texts: list[str]) -> None:
    with pytest.raises(InputError, match="no text"):
        train_tokenizer(config(kind), texts)


def test_reads_no_more_than_asked() -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            read.append(1000)
            yield "word " * 200

    limited = config("byte-bpe", training_megabytes=1, allow_smaller_vocabulary=True)
    train_tokenizer(limited, endless())
    assert sum(read) == 1_000_000


def test_byte_bpe_decodes_every_text(trained: dict[str, Tokenizer]) -> None:
    texts = ["", " a  b\n\t", "ㅋㅋㅋ 漢字 🤗", "\x00\x7f", "one. Two."]
    tokenizer = trained["byte-bpe"]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts


@pytest.mark.parametrize("kind", ["wordpiece", "byte-bpe"])
def test_sentences_concatenate_to_running_text(trained: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    first, second = tokenizer.encode_batch(["It returns.", tokenizer.sentence_prefix + "It calls"])
    assert tokenizer.decode(first + second) == "It returns. It calls"


def test_jamo_survive(trained: dict[str, Tokenizer], syllables: list[str]) -> None:
    tokenizer = trained["sentencepiece"]
    texts = [
        "ㅋㅋㅋ",
        "ㅋㅋㅠㅠ ㄳ",
        f"{syllables[0]} ㅎㅎ",
        "".join(map(chr, range(0x3131, 0x3164))),
    ]
    assert "ㅋ" not in "".join(syllables)
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts


def test_sentencepiece_normalizes_the_rest_as_nmt_nfkc(
    trained: dict[str, Tokenizer], syllables: list[str]
) -> None:
    tokenizer = trained["sentencepiece"]
    assert tokenizer.normalize("Ａ①\u200b ﬁ\t\u3000x") == "A1 fi x"
    decomposed = unicodedata.normalize("NFD", syllables[0])
    assert decomposed != syllables[0]
    assert tokenizer.encode_batch([decomposed]) == tokenizer.encode_batch([syllables[0]])


def test_lowercase_wordpiece(prose: list[str]) -> None:
    tokenizer = train_tokenizer(config("wordpiece", lowercase=True), prose)
    upper, lower = tokenizer.encode_batch(["RETURNS a Válue", "returns a value"])
    assert upper == lower
    assert not any(character.isupper() for piece in tokenizer.pieces[5:] for character in piece)


@pytest.mark.parametrize("kind", KINDS)
def test_continues_word_finds_the_words_of_white_space(
    trained: dict[str, Tokenizer], syllables: list[str], kind: str
) -> None:
    tokenizer = trained[kind]
    text = syllables[0] if kind == "sentencepiece" else "returnable objects of zebras"
    (ids,) = tokenizer.encode_batch([text])
    words: list[list[int]] = []
    for number in ids:
        if words and tokenizer.continues_word[number]:
            words[-1].append(number)
        else:
            words.append([number])
    assert [tokenizer.decode(word).strip() for word in words] == text.split()
    assert len(ids) > len(words)
    assert not tokenizer.continues_word[list(tokenizer.special.ids)].any()


def test_export_cuts_equally_likely_pieces_alike() -> None:
    """Strings of three letters have many best cuts; float32 and float64 must find the same."""
    rng = random.Random(0)
    words = ["".join(rng.choices("ab.", k=rng.randint(1, 12))) for _ in range(2000)]
    tokenizer = train_sentencepiece(words, vocabulary_size=200)
    texts = ["".join(rng.choices("ab.", k=1000)) for _ in range(300)]
    exported = tokenizer.new_backend().encode_batch(texts)
    assert tokenizer.encode_batch(texts) == [encoding.ids for encoding in exported]


def test_export_normalizes_every_character_alike(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["sentencepiece"]
    characters = [chr(code) for code in range(1, 0x30000, 7) if not 0xD800 <= code < 0xE000]
    texts = [
        f"{character} x{character}y"
        for character in characters
        if unicodedata.category(character) != "Cn"
    ]
    exported = tokenizer.new_backend().encode_batch(texts)
    assert tokenizer.encode_batch(texts) == [encoding.ids for encoding in exported]


def test_lower_casing_does_not_take_hangul_apart(syllables: list[str], tmp_path: Path) -> None:
    asked = {"lowercase": True, "vocabulary_size": 1500, "allow_smaller_vocabulary": True}
    with pytest.raises(InputError, match=r"into jamo: 100.0% of the letters .*strip_accents=false"):
        train_tokenizer(config("wordpiece", **asked), syllables)
    texts = [*syllables[:300], "ABC É"]
    kept = train_tokenizer(config("wordpiece", **asked, strip_accents=False), texts)
    kept.save(tmp_path / "kept")
    again = load_tokenizer(tmp_path / "kept")
    assert again.encode_batch(texts) == kept.encode_batch(texts)
    assert again.fingerprint == kept.fingerprint
    assert [kept.decode(ids) for ids in kept.encode_batch(["ABC É"])] == ["abc é"]
    (word,) = kept.encode_batch([syllables[0].split()[0]])
    assert not any(set(map(chr, range(0x1100, 0x1200))) & set(p) for p in kept.pieces)
    assert kept.special.unk not in word
    said: list[str] = []
    train_tokenizer(config("wordpiece", **asked, strip_accents=True), syllables[:300], said.append)
    assert any("takes Hangul apart into jamo: 100.0%" in line for line in said)


def test_accents_that_are_lost_are_told(prose: list[str]) -> None:
    said: list[str] = []
    texts = [*prose, "é ü ñ " * 4000]
    train_tokenizer(config("wordpiece", lowercase=True), texts, said.append)
    assert any("of the letters lose an accent or a sign (é ñ ü)" in line for line in said)
    said.clear()
    train_tokenizer(config("wordpiece", lowercase=True, strip_accents=False), texts, said.append)
    assert not any("accent" in line for line in said)


def test_no_line_is_left_out_for_a_sign_of_the_library() -> None:
    """The trainer leaves out each text that holds its sign for unknown pieces, without a word."""
    plain = [f"hello world this is some text number {number}" for number in range(300)]
    odd = ["zqxjv kzqxjv▅ zqxjv a▁b"] * 20
    said: list[str] = []
    tokenizer = train_tokenizer(
        config("sentencepiece", vocabulary_size=300, allow_smaller_vocabulary=True),
        plain + odd,
        said.append,
    )
    assert any("z" in piece for piece in tokenizer.pieces)
    assert [line for line in said if "U+" in line] == [
        "tokenizer: 20 times ▅ (U+2585), which SentencePiece keeps for itself: there is no piece "
        "for it, and training reads a space",
        "tokenizer: 20 times ▁ (U+2581), which SentencePiece reads as a space",
    ]
    assert tokenizer.special.unk in tokenizer.encode_batch(["▅"])[0]
    with pytest.raises(InputError, match=r"1 kinds of characters have no piece \(▅\), \d+"):
        train_tokenizer(
            config("sentencepiece", vocabulary_size=300, allow_smaller_vocabulary=True),
            [*plain, "▅" * 1000],
        )


def test_characters_without_a_piece_are_told_or_refused(prose: list[str]) -> None:
    said: list[str] = []
    rare = "".join(map(chr, range(0x4E00, 0x4E40)))
    train_tokenizer(config("wordpiece", vocabulary_size=600), [*prose, rare], said.append)
    assert any("kinds of characters have no piece (" in line for line in said)
    many = ["".join(map(chr, range(0x4E00, 0x5E00))) for _ in range(20)]
    with pytest.raises(InputError, match=r"% of the text: they read as \[UNK\]: raise tokenizer"):
        train_tokenizer(config("wordpiece", vocabulary_size=600), [*prose, *many])


def test_a_vocabulary_of_a_part_of_the_text_is_told() -> None:
    said: list[str] = []
    texts = ["word and words " * 100] * 1000
    asked = config("byte-bpe", training_megabytes=1, allow_smaller_vocabulary=True)
    train_tokenizer(asked, texts, said.append)
    assert said == ["tokenizer: learnt from the first 1 MB of the text"]
    train_tokenizer(asked, texts[:10], said.append)
    assert len(said) == 1


def test_text_without_capitals_needs_no_lower_casing() -> None:
    """It is no uncased vocabulary that somebody reads as a cased one."""
    texts = ["the quick brown fox jumps over the lazy dog"] * 9
    asked = config("wordpiece", vocabulary_size=200, allow_smaller_vocabulary=True, lowercase=False)
    assert train_tokenizer(asked, texts).encode_batch(["fox"])
