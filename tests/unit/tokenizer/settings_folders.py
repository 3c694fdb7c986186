"""Folders of others for the tests of their settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import InputError
from tests.unit.tokenizer.unicode_page import letters, page
from tokenizer.base import Tokenizer
from tokenizer.huggingface import write_huggingface
from tokenizer.load import load_tokenizer

transformers = pytest.importorskip("transformers")
BERT_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BERT_PIECES += [*letters(), *(f"##{letter}" for letter in letters()), "brown", "fox", "한국"]
PAGE = page()


def write(folder: Path, **files: object) -> Path:
    """Files by their names without a point; what is no text becomes JSON."""
    names = {"vocab": "vocab.txt", "merges": "merges.txt", "words": "vocab.json"}
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / names.get(name, f"{name}.json")).write_text(text, encoding="utf-8")
    return folder


def bert_folder(folder: Path, **config: object) -> Path:
    config = {"tokenizer_class": "BertTokenizer", **config}
    return write(folder, vocab="\n".join(BERT_PIECES) + "\n", tokenizer_config=config)


def assert_same_ids(tokenizer: Tokenizer, theirs: object) -> None:
    """On the page; their tokenizer must not look for special tokens in it, of which it has none."""
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in PAGE]
    assert tokenizer.encode_batch(PAGE) == expected
    assert tokenizer.vocabulary_size == len(theirs)


def assert_round_trip(tokenizer: Tokenizer, folder: Path) -> None:
    """Saved, loaded, exported and read by transformers: the same ids."""
    tokenizer.save(folder / "saved")
    again = load_tokenizer(folder / "saved")
    assert again.fingerprint == tokenizer.fingerprint
    write_huggingface(again, folder / "export", max_length=10**6, segment_types=2)
    assert load_tokenizer(folder / "export").fingerprint == tokenizer.fingerprint
    assert_same_ids(tokenizer, transformers.AutoTokenizer.from_pretrained(folder / "export"))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_tokenizer(folder)
    return str(error.value)
