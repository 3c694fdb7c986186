"""Byte-level BPE of others: every setting that changes ids is honoured, or refused."""

from __future__ import annotations

import json

import pytest

from tests.unit.tokenizer.settings_folders import (
    assert_round_trip,
    assert_same_ids,
    refusal,
    transformers,
    write,
)
from tokenizer.load import load_tokenizer


@pytest.fixture(scope="module")
def bpe_files(trained) -> dict[str, object]:
    model = json.loads(trained["byte-bpe"].backend.to_str())["model"]
    merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"])
    return {"words": model["vocab"], "merges": merges}


@pytest.mark.parametrize("form", ["vocab.json", "tokenizer.json", "both"])
@pytest.mark.parametrize("name", ["RobertaTokenizer", "GPT2Tokenizer"])
@pytest.mark.parametrize("prefix", [True, False, None])
def test_every_switch_of_roberta_and_gpt2(tmp_path, bpe_files, name, prefix, form):
    config = {"tokenizer_class": name} | ({} if prefix is None else {"add_prefix_space": prefix})
    if name == "GPT2Tokenizer":
        config |= dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<s>")
    folder = write(tmp_path / "a", tokenizer_config=config, **bpe_files)
    theirs = getattr(transformers, name).from_pretrained(folder)
    if form != "vocab.json":
        theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))
    if form == "tokenizer.json":
        (folder / "vocab.json").unlink()
    tokenizer = load_tokenizer(folder)
    assert_same_ids(tokenizer, transformers.AutoTokenizer.from_pretrained(folder))
    assert_round_trip(tokenizer, tmp_path)
    assert tokenizer.prefix_space == bool(prefix)


def test_bpe_files_that_disagree_are_both_named(tmp_path, bpe_files):
    config = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}
    folder = write(tmp_path, tokenizer_config=config, **bpe_files)
    backend = transformers.RobertaTokenizer.from_pretrained(folder).backend_tokenizer
    content = json.loads(backend.to_str())
    write(folder, tokenizer=content, tokenizer_config={**config, "add_prefix_space": False})
    assert "add_prefix_space=true, but tokenizer_config.json add_prefix_space=false" in refusal(
        folder
    )
    content["model"]["merges"] = content["model"]["merges"][:-1]
    write(folder, tokenizer=content, tokenizer_config=config)
    assert "other merges, unlike vocab.json" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("model", {"dropout": 0.1}),
        ("model", {"ignore_merges": True}),
        ("model", {"byte_fallback": True}),
        ("model", {"end_of_word_suffix": "</w>"}),
        ("pre_tokenizer", {"use_regex": False}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("normalizer", {"type": "NFKC"}),
    ],
)
def test_parts_of_a_bpe_that_are_not_computed(tmp_path, bpe_files, part, change):
    folder = write(tmp_path, **bpe_files)
    content = json.loads(transformers.RobertaTokenizer.from_pretrained(folder)._tokenizer.to_str())
    content[part] = {**(content[part] or {}), **change}
    assert str(folder / "tokenizer.json") in refusal(write(folder, tokenizer=content))


def test_bytes_without_a_piece_are_told(tmp_path, bpe_files, console):
    words = {piece: number for number, piece in enumerate(["a", "b", "ab"])}
    load_tokenizer(write(tmp_path, words=words, merges="a b\n"))
    assert "no piece for 254 of the 256 bytes, which texts lose" in console.readouterr().err


DAMAGES = {
    "model null": lambda c: c.update(model=None),
    "model a list": lambda c: c.update(model=[]),
    "model a text": lambda c: c.update(model="BPE"),
    "no model": lambda c: c.pop("model"),
    "no vocabulary": lambda c: c["model"].pop("vocab"),
    "a vocabulary of numbers": lambda c: c["model"].update(vocab=[1, 2]),
    "no merges": lambda c: c["model"].pop("merges"),
    "merges of three": lambda c: c["model"].update(merges=["a b c"]),
    "merges of numbers": lambda c: c["model"].update(merges=[[1, 2]]),
    "a merge of nothing": lambda c: c["model"].update(merges=[["q", "∞"]]),
    "mixed ids": lambda c: c["model"]["vocab"].update(a="one"),
    "half an id": lambda c: c["model"]["vocab"].update(a=1.5),
    "a negative id": lambda c: c["model"]["vocab"].update(a=-1),
    "a huge id": lambda c: c["model"]["vocab"].update(a=2**40),
    "true as an id": lambda c: c["model"]["vocab"].update(a=True),
    "added tokens a number": lambda c: c.update(added_tokens=5),
    "an added token of nothing": lambda c: c.update(added_tokens=[{}]),
    "an added token without an id": lambda c: c["added_tokens"][0].pop("id"),
    "an added token with another id": lambda c: c["added_tokens"][0].update(id=99999),
    "a normalizer of numbers": lambda c: c.update(normalizer=[5]),
    "a pre_tokenizer of text": lambda c: c.update(pre_tokenizer="ByteLevel"),
    "another model": lambda c: c.update(model={"type": "WordLevel", "vocab": {"a": 0}}),
    "a post_processor of nothing": lambda c: c.update(post_processor={"type": "Nothing"}),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_tokenizer_json_is_one_line(tmp_path, bpe_files, what):
    folder = write(tmp_path, **bpe_files)
    backend = transformers.RobertaTokenizer.from_pretrained(folder).backend_tokenizer
    content = json.loads(backend.to_str())
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    load_tokenizer(write(folder, tokenizer=content))
    DAMAGES[what](content)
    line = refusal(write(folder, tokenizer=content))
    assert str(folder / "tokenizer.json") in line and "\n" not in line and len(line) < 600
