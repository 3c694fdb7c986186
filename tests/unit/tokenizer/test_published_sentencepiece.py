"""SentencePiece folders of others: every setting that changes ids is honoured, or refused."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from tests.unit.tokenizer.conftest import fixture_file
from tests.unit.tokenizer.settings_folders import (
    BERT_PIECES,
    PAGE,
    refusal,
    transformers,
    write,
)
from tests.unit.tokenizer.unicode_page import LINES
from tokenizer.base import Tokenizer
from tokenizer.huggingface import write_huggingface
from tokenizer.load import load_tokenizer

KOBERT_FILES = ("spiece.model", "config.json", "tokenizer_config.json", "special_tokens_map.json")


def kobert_folder(folder: Path, **changes: object) -> Path:
    """The released layout; skips where it is missing."""
    folder.mkdir()
    for name in KOBERT_FILES:
        (folder / name).write_bytes(fixture_file(f"kobert-{name}").read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return write(folder, tokenizer_config={**config, **changes})


def test_the_released_kobert(tmp_path, korean):
    tokenizer = load_tokenizer(kobert_folder(tmp_path / "kobert"))
    (ids,) = tokenizer.encode_batch(["한국어 모델을 공유합니다."])
    assert ids == [4958, 6855, 2046, 7088, 1050, 7843, 54]
    assert (tokenizer.special.cls, tokenizer.special.sep) == (2, 3)
    model = load_tokenizer(fixture_file("kobert-spiece.model"))
    # KoBERT's own class strips accents, in Japanese too; all else is the model alone.
    plain = [line for line in korean if kobert_text(line) == unicodedata.normalize("NFKD", line)]
    assert len(plain) > 900
    assert tokenizer.encode_batch(plain) == model.encode_batch(plain)


def kobert_text(
    text: str, remove_space: bool = True, keep_accents: bool = False, lower: bool = False
) -> str:
    """What XLNetTokenizer, of which KoBERTTokenizer is a kind, does before its model."""
    if remove_space:
        text = " ".join(text.strip().split())
    text = text.replace("``", '"').replace("''", '"')
    if not keep_accents:
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if not unicodedata.combining(c))
    return text.lower() if lower else text


@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize("accents", [True, False])
@pytest.mark.parametrize("lower", [True, False])
def test_every_switch_of_kobert(tmp_path, spaces, accents, lower):
    import sentencepiece

    switches = {"remove_space": spaces, "keep_accents": accents, "do_lower_case": lower}
    tokenizer = load_tokenizer(kobert_folder(tmp_path / "kobert", **switches))
    theirs = sentencepiece.SentencePieceProcessor(str(tmp_path / "kobert" / "spiece.model"))
    texts = [kobert_text(text, spaces, accents, lower) for text in PAGE]
    assert tokenizer.encode_batch(PAGE) == [theirs.encode(text) for text in texts]
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").fingerprint == tokenizer.fingerprint
    write_huggingface(tokenizer, tmp_path / "export", max_length=10**6, segment_types=2)
    assert load_tokenizer(tmp_path / "export").fingerprint == tokenizer.fingerprint
    exported = transformers.AutoTokenizer.from_pretrained(tmp_path / "export")
    found = exported(PAGE, add_special_tokens=False)["input_ids"]
    differ = [t for t, a, b in zip(PAGE, found, tokenizer.encode_batch(PAGE)) if a != b]
    # The library's export puts marks that are out of order into the canonical one.
    assert differ == [text for text in [LINES[4]] if accents]


@pytest.mark.parametrize(
    "change",
    [
        {"sp_model_kwargs": {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}},
        {"tokenizer_class": "XLMRobertaTokenizer"},
        {"tokenizer_class": "CamembertTokenizer"},
        {"tokenizer_class": "BertTokenizer"},
        {"legacy": False},
        {"keep_accents": "no"},
        {"additional_special_tokens": ["<e1>"]},
    ],
)
def test_what_is_not_computed_of_a_sentencepiece_folder(tmp_path, change):
    assert "tokenizer_config.json" in refusal(kobert_folder(tmp_path / "kobert", **change))


def sentencepiece_export(folder: Path, trained: dict[str, Tokenizer]) -> Path:
    write_huggingface(trained["sentencepiece"], folder, max_length=100, segment_types=2)
    return folder


def test_a_tokenizer_json_beside_a_model_is_compared(tmp_path, trained):
    folder = sentencepiece_export(tmp_path, trained)
    load_tokenizer(folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"][9][1] -= 1.0
    write(folder, tokenizer=content)
    assert "other scores, unlike spiece.model" in refusal(folder)
    content["model"]["vocab"][9][1] += 1.0
    content["normalizer"]["normalizers"].append({"type": "Lowercase"})
    write(folder, tokenizer=content)
    assert "another normalizer, unlike spiece.model" in refusal(folder)
    (folder / "spiece.model").unlink()
    assert "a unigram tokenizer is read from its SentencePiece .model" in refusal(folder)


def test_folders_with_two_vocabularies_are_refused(tmp_path, trained):
    folder = sentencepiece_export(tmp_path, trained)
    write(folder, vocab="\n".join(BERT_PIECES))
    assert "holds vocab.txt, spiece.model: name the file" in refusal(folder)
    (folder / "vocab.txt").unlink()
    (folder / "other.model").write_bytes((folder / "spiece.model").read_bytes())
    assert "holds other.model, spiece.model" in refusal(folder)
