"""tokenizer.json, the form in which the `tokenizers` library keeps any tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from configs.errors import InputError
from configs.system.files import find_file
from configs.system.json_files import read_json, shown
from tokenizer.byte_bpe import SearchedToken, in_order
from tokenizer.published import add_tokens, check_searched

BACKEND_FILE = "tokenizer.json"
"""all that newer versions of transformers save"""
KINDS = {"WordPiece": "wordpiece", "BPE": "byte-bpe", "Unigram": "sentencepiece"}
MODEL_VALUES: dict[str, tuple[object, ...]] = {
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (False, None),
    "ignore_merges": (False, None),
}
"""of a BPE model: what is computed here"""
OPTIONS = [field.name for field in fields(SearchedToken)]
BERT_SPLIT = "BertPreTokenizer"
WORDPIECE_VALUES = {"continuing_subword_prefix": ("##",), "max_input_chars_per_word": (100,)}


@dataclass(frozen=True)
class BackendFile:
    """What tokenizer.json says, in the library's present form."""

    path: Path
    kind: str
    pieces: list[str]
    """the piece of each id, added tokens included"""
    scores: list[float]
    """of a unigram model's pieces"""
    merges: list[tuple[str, str]]
    switches: dict[str, bool | None]
    """by transformers' names"""
    searched: list[SearchedToken]
    """tokens that are looked for in texts, beside the special ones"""
    normalizer: object
    pre_tokenizer: object
    post_processor: Mapping[str, Any] | None
    unknown: str | None
    """the piece of what has none"""


def read_backend(folder: Path, not_searched: set[str]) -> BackendFile | None:
    """The tokenizer.json of a folder; None where there is none; raises `InputError`: damage, or a
    tokenizer that is none of ours."""
    path = find_file(folder, BACKEND_FILE)
    if path is None:
        return None
    content = read_json(path)
    canonical = _canonical(path, content)
    model = canonical["model"]
    kind = KINDS.get(model["type"])
    if kind is None:
        raise _other(path, f"a {model['type']} model")
    vocabulary = content["model"]["vocab"]
    is_list = isinstance(vocabulary, list)  # of pieces and scores; other models have a table of ids
    pieces = [piece for piece, _ in vocabulary] if is_list else in_order(path, vocabulary)
    # The library itself gives such a token its id in the vocabulary, whatever the file says.
    added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    searched = [
        SearchedToken(**{name: token[name] for name in OPTIONS})
        for token in canonical["added_tokens"]
        if token["content"] not in not_searched
    ]
    if kind != "byte-bpe":
        check_searched([token.content for token in searched], not_searched, path)
    switches = {"wordpiece": _wordpiece_switches, "byte-bpe": _bpe_switches}.get(kind)
    return BackendFile(
        path,
        kind,
        add_tokens(pieces, added, path, path),
        [score for _, score in vocabulary] if is_list else [],
        [tuple(merge) for merge in model.get("merges", [])],
        switches(path, canonical) if switches else {},
        searched,
        canonical["normalizer"],
        canonical["pre_tokenizer"],
        canonical["post_processor"],
        model.get("unk_token"),
    )


def _canonical(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """The file as the library, which checks every part of it, would write it today."""
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), (dict, list)):
        raise InputError(f"{path}: damaged (model={shown(model)}): make or copy it anew")
    try:
        canonical: dict[str, Any] = json.loads(Backend.from_str(json.dumps(content)).to_str())
    except BaseException as error:  # the library raises bare exceptions, and panics
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise InputError(f"{path}: damaged ({error}): make or copy it anew") from error
    return canonical


def _wordpiece_switches(path: Path, content: dict[str, Any]) -> dict[str, bool | None]:
    normalizer = content["normalizer"] or {}
    _expect(path, "normalizer", normalizer.get("type"), ("BertNormalizer",))
    _expect(path, "normalizer.clean_text", normalizer["clean_text"], (True,))
    _expect(path, "pre_tokenizer", (content["pre_tokenizer"] or {}).get("type"), (BERT_SPLIT,))
    for name, allowed in WORDPIECE_VALUES.items():
        _expect(path, f"model.{name}", content["model"][name], allowed)
    return {
        "do_lower_case": normalizer["lowercase"],
        "strip_accents": normalizer["strip_accents"],
        "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
    }


def _bpe_switches(path: Path, content: dict[str, Any]) -> dict[str, bool | None]:
    pre_tokenizer = content["pre_tokenizer"] or {}
    _expect(path, "normalizer", content["normalizer"], (None, {"type": "NFC"}))
    _expect(path, "pre_tokenizer", pre_tokenizer.get("type"), ("ByteLevel",))
    _expect(path, "pre_tokenizer.use_regex", pre_tokenizer["use_regex"], (True,))
    for name, allowed in MODEL_VALUES.items():
        _expect(path, f"model.{name}", content["model"].get(name), allowed)
    return {"add_prefix_space": pre_tokenizer["add_prefix_space"]}


def _expect(path: Path, name: str, value: object, allowed: tuple[object, ...]) -> None:
    if not any(value == one and type(value) is type(one) for one in allowed):
        raise _other(path, f"one with {name}={shown(value)}")


def _other(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: {what} is not computed here, only BERT's WordPiece and RoBERTa's byte-level "
        "BPE as they are: choose such a tokenizer, or a SentencePiece .model"
    )
