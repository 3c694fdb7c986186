"""Published vocabularies give the ids that their own libraries give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import InputError
from tests.unit.tokenizer.conftest import fixture_file
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer

AWKWARD = [
    "",
    "  ",
    "naïve CAFÉ\u0301  don't",
    "東京 tower\x00\x07!",
    "a\u200bb\u3000c\n\td",
    "🤗🤗",
]


def test_wordpiece_agrees_with_bert(bert: Tokenizer, english: list[str], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    bert.write_model(tmp_path)
    theirs = transformers.BertTokenizerFast(
        str(tmp_path / "vocab.txt"), do_lower_case=bert.lowercase, model_max_length=10**6
    )
    texts = english + AWKWARD
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert bert.encode_batch(texts) == expected


def test_byte_bpe_agrees_with_gpt2(gpt2: Tokenizer, english: list[str]) -> None:
    theirs = _tiktoken_encoding()
    texts = english + AWKWARD
    assert gpt2.encode_batch(texts) == [theirs.encode(text) for text in texts]
    assert [gpt2.decode(ids) for ids in gpt2.encode_batch(texts)] == texts


def test_gpt2_gets_special_tokens_after_its_own(gpt2: Tokenizer) -> None:
    assert gpt2.pieces[50256] == "<|endoftext|>"
    assert sorted(gpt2.special.ids) == list(range(50257, 50262))


def _tiktoken_encoding() -> object:
    """OpenAI's reader of the published files; its ranks are the ids."""
    tiktoken = pytest.importorskip("tiktoken")
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert set(bytes_to_unicode().values()) == set(ByteLevel.alphabet())
    to_byte = {symbol: byte for byte, symbol in bytes_to_unicode().items()}
    vocabulary = json.loads(fixture_file("gpt2-encoder.json").read_text(encoding="utf-8"))
    end = vocabulary.pop("<|endoftext|>")
    return tiktoken.Encoding(
        "gpt2",
        pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks={bytes(to_byte[c] for c in piece): n for piece, n in vocabulary.items()},
        special_tokens={"<|endoftext|>": end},
    )


def test_kobert_agrees_with_sentencepiece(kobert: Tokenizer, korean: list[str]) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    theirs = sentencepiece.SentencePieceProcessor(
        model_file=str(fixture_file("kobert-spiece.model"))
    )
    texts = [*korean, *AWKWARD, "ㅋㅋㅋ 재밌다ㅠㅠ"]
    assert kobert.encode_batch(texts) == [theirs.encode(text) for text in texts]


def test_kobert_readme(kobert: Tokenizer) -> None:
    (ids,) = kobert.encode_batch(["한국어 모델을 공유합니다."])
    published = [2, 4958, 6855, 2046, 7088, 1050, 7843, 54, 3]
    assert [kobert.special.cls, *ids, kobert.special.sep] == published
    assert kobert.decode(published) == "[CLS] 한국어 모델을 공유합니다. [SEP]"


def test_uncased_vocabulary_is_not_read_as_cased() -> None:
    with pytest.raises(InputError, match=r"lowercase=true"):
        load_tokenizer(fixture_file("bert-base-uncased-vocab.txt"), lowercase=False)


def test_special_names_in_text_stay_text(
    bert: Tokenizer, gpt2: Tokenizer, kobert: Tokenizer
) -> None:
    text = "[CLS] a [SEP]b[PAD] [MASK] <s><pad> </s> <mask> <|endoftext|>"
    for tokenizer in (bert, gpt2, kobert):
        (ids,) = tokenizer.encode_batch([text])
        assert set(ids).isdisjoint(set(tokenizer.special.ids) - {tokenizer.special.unk})
