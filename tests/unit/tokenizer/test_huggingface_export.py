"""Exported folders load with AutoTokenizer and give our ids."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from configs.schema import TokenizerConfig
from tokenizer.base import Tokenizer
from tokenizer.huggingface import write_huggingface
from tokenizer.training import train_tokenizer

transformers = pytest.importorskip("transformers")

KINDS = ("wordpiece", "byte-bpe", "sentencepiece")


def exported(tokenizer: Tokenizer, folder: Path, segment_types: int = 2) -> object:
    write_huggingface(tokenizer, folder, 100_000, segment_types)
    return transformers.AutoTokenizer.from_pretrained(folder)


def assert_same_ids(tokenizer: Tokenizer, folder: Path, texts: list[str]) -> None:
    theirs = exported(tokenizer, folder)
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    assert tokenizer.encode_batch(texts) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_trained(kind: str, english: list[str], korean: list[str], tmp_path: Path) -> None:
    config = TokenizerConfig(kind=kind, vocabulary_size=4000)
    texts = korean if kind == "sentencepiece" else english
    tokenizer = train_tokenizer(config, texts)
    assert_same_ids(tokenizer, tmp_path, [*english, *korean, "ㅋㅋㅠㅠ.......  a", "", " "])


def test_bert(bert: Tokenizer, english: list[str], tmp_path: Path) -> None:
    assert_same_ids(bert, tmp_path, english)


def test_gpt2(gpt2: Tokenizer, english: list[str], tmp_path: Path) -> None:
    assert_same_ids(gpt2, tmp_path, english)


def test_kobert(kobert: Tokenizer, korean: list[str], tmp_path: Path) -> None:
    assert_same_ids(kobert, tmp_path, [*korean, "재밌다 ㅋㅋㅠㅠ ㄳ", "나\u1102\u1161"])


def test_letters_with_two_marks_written_apart(tmp_path: Path) -> None:
    text = "Tiếng Việt có sáu thanh: những chữ ấy đều đọc được, từ ấm áp đến lộng lẫy ẩn sẵn"
    config = TokenizerConfig("sentencepiece", 120, allow_smaller_vocabulary=True)
    tokenizer = train_tokenizer(config, [text] * 50)
    apart = unicodedata.normalize("NFD", text)
    assert tokenizer.encode_batch([apart]) == tokenizer.encode_batch([text])
    assert_same_ids(tokenizer, tmp_path, [text, apart, *apart.split()])


@pytest.mark.parametrize("segment_types", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_single_texts_and_pairs(
    trained: dict[str, Tokenizer], kind: str, segment_types: int, tmp_path: Path
) -> None:
    tokenizer, special = trained[kind], trained[kind].special
    theirs = exported(tokenizer, tmp_path, segment_types)
    first, second = tokenizer.encode_batch(["one value", "another"])
    assert theirs("one value")["input_ids"] == [special.cls, *first, special.sep]
    pair = theirs("one value", "another", return_token_type_ids=True)
    assert pair["input_ids"] == [special.cls, *first, special.sep, *second, special.sep]
    lengths = (len(first) + 2, len(second) + 1)
    types = [0] * lengths[0] + [segment_types - 1] * lengths[1]
    assert pair["token_type_ids"] == types
    assert ("token_type_ids" in theirs("one value")) == (segment_types == 2)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    special = trained[kind].special
    theirs = exported(trained[kind], tmp_path)
    roles = ("cls", "sep", "pad", "mask", "unk")
    assert tuple(getattr(theirs, f"{role}_token_id") for role in roles) == special.ids
    assert theirs.model_max_length == 100_000
    assert len(theirs) == trained[kind].vocabulary_size
    masked = theirs(f"one {theirs.mask_token}", add_special_tokens=False)["input_ids"]
    assert masked == [*trained[kind].encode_batch(["one"])[0], special.mask]
