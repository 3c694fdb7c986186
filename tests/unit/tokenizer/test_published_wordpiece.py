"""Folders of others: every setting that changes ids is honoured, or refused."""

from __future__ import annotations

import itertools
import json
import unicodedata

import pytest

from configs.errors import InputError
from tests.unit.tokenizer.settings_folders import (
    BERT_PIECES,
    assert_round_trip,
    assert_same_ids,
    bert_folder,
    refusal,
    transformers,
    write,
)
from tests.unit.tokenizer.unicode_page import LINES
from tokenizer.load import load_tokenizer

SWITCHES = list(itertools.product([True, False], [None, True, False], [True, False]))


@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json", "both"])
@pytest.mark.parametrize(("lower", "accents", "chinese"), SWITCHES)
def test_every_switch_of_bert(tmp_path, lower, accents, chinese, form):
    switches = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
    folder = bert_folder(tmp_path / "a", **switches)
    theirs = transformers.BertTokenizer.from_pretrained(folder)
    if form != "vocab.txt":
        theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))
    if form == "tokenizer.json":
        (folder / "vocab.txt").unlink()
    tokenizer = load_tokenizer(folder)
    assert_same_ids(tokenizer, transformers.AutoTokenizer.from_pretrained(folder))
    assert_round_trip(tokenizer, tmp_path)


@pytest.mark.parametrize(("lower", "accents", "chinese"), SWITCHES)
def test_ids_of_the_slow_tokenizer(tmp_path, lower, accents, chinese):
    """On composed text, without U+0130 and what is no character: there its two versions differ."""
    switches = {"do_lower_case": lower, "strip_accents": accents, "tokenize_chinese_chars": chinese}
    folder = bert_folder(tmp_path / "a", **switches)
    slow = transformers.BertTokenizerLegacy(str(folder / "vocab.txt"), **switches)
    composed = [text for text in LINES if unicodedata.is_normalized("NFC", text)]
    texts = [text for text in composed if not {"İ", "\ufffe"} & set(text)]
    assert len(texts) > 15
    expected = [slow.convert_tokens_to_ids(slow.tokenize(text)) for text in texts]
    assert load_tokenizer(folder).encode_batch(texts) == expected


def test_accents_that_stay(tmp_path):
    """A German and a Korean uncased model that keep them."""
    tokenizer = load_tokenizer(
        bert_folder(tmp_path, do_lower_case=True, strip_accents=False, tokenizer_class=None)
    )
    pieces = [tokenizer.pieces[n] for n in tokenizer.encode_batch(["Über 한국어"])[0]]
    assert pieces == ["ü", "##b", "##e", "##r", "한국", "##어"]


def test_what_nothing_says_is_what_transformers_does(tmp_path):
    folder = bert_folder(tmp_path / "a")
    assert_same_ids(load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder))
    (folder / "tokenizer_config.json").unlink()
    assert load_tokenizer(folder, lowercase=True).lowercase
    assert not load_tokenizer(folder, lowercase=False).lowercase
    with pytest.raises(InputError, match=r"nothing says whether texts keep theirs: write .*false"):
        load_tokenizer(folder, lowercase=None)


def test_a_vocabulary_named_by_itself_is_its_folders(tmp_path):
    folder = bert_folder(tmp_path, do_lower_case=True, strip_accents=False)
    by_file = load_tokenizer(folder / "vocab.txt")
    assert by_file.fingerprint == load_tokenizer(folder).fingerprint


def test_default_settings_keep_their_fingerprint():
    """Stores and runs made before are known by these."""
    from tokenizer.byte_bpe import ByteBpe
    from tokenizer.wordpiece import WordPiece

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    found = [WordPiece(pieces, True).fingerprint, WordPiece(pieces, False).fingerprint]
    found.append(ByteBpe(["a", "b", "ab"], [("a", "b")]).fingerprint)
    assert [fingerprint[:12] for fingerprint in found] == FINGERPRINTS


FINGERPRINTS = ["e095227fe141", "a2145f838df0", "e11fd235c99e"]
SPECIAL = {
    "cls_token": "<start>",
    "sep_token": "<stop>",
    "pad_token": "<nil>",
    "mask_token": {"content": "<gap>", "lstrip": True, "__type": "AddedToken"},
    "unk_token": "<what>",
}


@pytest.mark.parametrize("place", ["tokenizer_config", "special_tokens_map"])
def test_special_tokens_of_other_names(tmp_path, place):
    names = ["<nil>", "<what>", "<start>", "<stop>", "<gap>"]
    folder = write(
        tmp_path / "a",
        vocab="\n".join([*names, *BERT_PIECES[5:]]),
        **{"tokenizer_config": {"do_lower_case": True}, place: {"do_lower_case": True, **SPECIAL}},
    )
    tokenizer = load_tokenizer(folder)
    assert tokenizer.special.ids == (2, 3, 0, 4, 1)
    theirs = transformers.BertTokenizer.from_pretrained(folder)
    assert_same_ids(tokenizer, theirs)
    assert_round_trip(tokenizer, tmp_path)
    write(folder, special_tokens_map={"cls_token": "a"}, tokenizer_config=SPECIAL)
    line = refusal(folder)
    assert "tokenizer_config.json" in line and 'but "a" in special_tokens_map.json' in line


def test_a_vocabulary_with_both_kinds_of_names_means_its_own(tmp_path):
    pieces = [*BERT_PIECES, "<s>", "</s>", "<pad>", "<mask>", "<unk>"]
    folder = write(tmp_path, vocab="\n".join(pieces), tokenizer_config={"do_lower_case": False})
    assert load_tokenizer(folder).special.ids == (2, 3, 0, 4, 1)


REFUSED = {
    "do_basic_tokenize": False,
    "never_split": ["한국어"],
    "clean_text": False,
    "wordpieces_prefix": "@@",
    "max_input_chars_per_word": 10,
    "truncation_side": "left",
    "auto_map": {"AutoTokenizer": ["x.Y", None]},
    "tokenizer_class": "BertJapaneseTokenizer",
    "do_lower_case": "yes",
    "strip_accents": 1,
    "word_tokenizer_type": "mecab",
    "cls_token": "<not there>",
    "sep_token": 5,
    "pad_token": {"text": "[PAD]"},
    "additional_special_tokens": ["@user"],
    "extra_special_tokens": {"image_token": "<img>"},
    "added_tokens_decoder": {"5": {"content": "@user", "special": False}},
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_not_computed_is_refused_by_file_and_field(tmp_path, field):
    line = refusal(bert_folder(tmp_path, **{field: REFUSED[field]}))
    assert str(tmp_path / "tokenizer_config.json") in line
    assert field in line or "added token" in line


def test_added_tokens_that_texts_are_searched_for(tmp_path):
    folder = write(bert_folder(tmp_path), added_tokens={"@user": len(BERT_PIECES)})
    assert 'added token "@user"' in refusal(folder)
    write(folder, added_tokens={"[PAD]": 7})
    assert 'the added token "[PAD]" has the id 7' in refusal(folder)
    write(folder, added_tokens={"[PAD]": "0"})
    assert 'has the id "0"' in refusal(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lowercase", True), ("strip_accents", True), ("handle_chinese_chars", False)],
)
def test_two_files_that_disagree_are_both_named(tmp_path, name, value):
    folder = bert_folder(tmp_path, do_lower_case=False)
    backend = transformers.BertTokenizer.from_pretrained(folder).backend_tokenizer
    content = json.loads(backend.to_str())
    write(folder, tokenizer=content)
    load_tokenizer(folder)
    content["normalizer"][name] = value
    line = refusal(write(folder, tokenizer=content))
    assert str(folder / "tokenizer.json") in line and "but tokenizer_config.json" in line


def test_vocabularies_that_disagree_are_both_named(tmp_path):
    folder = bert_folder(tmp_path, do_lower_case=False)
    backend = transformers.BertTokenizer.from_pretrained(folder).backend_tokenizer
    backend.save(str(folder / "tokenizer.json"))
    write(folder, vocab="\n".join([*BERT_PIECES[:-2], BERT_PIECES[-1], BERT_PIECES[-2]]))
    line = refusal(folder)
    assert f"another piece {len(BERT_PIECES) - 2}, unlike vocab.txt" in line
    write(folder, vocab="\n".join(BERT_PIECES[:-1]))
    assert f"{len(BERT_PIECES):,} pieces, unlike vocab.txt" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("normalizer", {"clean_text": False}),
        ("normalizer", {"type": "Lowercase"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("model", {"max_input_chars_per_word": 10}),
        ("model", {"continuing_subword_prefix": "@@"}),
        ("model", {"unk_token": "[MASK]"}),
    ],
)
def test_parts_of_tokenizer_json_that_are_not_computed(tmp_path, part, change):
    folder = bert_folder(tmp_path, do_lower_case=False)
    content = json.loads(transformers.BertTokenizer.from_pretrained(folder)._tokenizer.to_str())
    content[part] = {**content[part], **change}
    assert str(folder / "tokenizer.json") in refusal(write(folder, tokenizer=content))


def test_unknown_fields_are_told(tmp_path, console):
    load_tokenizer(bert_folder(tmp_path, do_lower_case=False, flavour="mint"))
    note = f"note: {tmp_path / 'tokenizer_config.json'}: fields not used: flavour\n"
    assert console.readouterr().err == note


def test_capitals_without_a_small_letter_stand_in_uncased_vocabularies(tmp_path):
    """BERT's own has ℝ, which its lower-casing leaves."""
    lower = [piece for piece in BERT_PIECES if piece[0] == "[" or piece.lower() == piece]
    write(tmp_path, vocab="\n".join([*lower, "ℝ", "##ℝ"]) + "\n")
    assert load_tokenizer(tmp_path, lowercase=None).lowercase


def test_a_folder_that_keeps_capitals_is_taken_at_its_word(tmp_path):
    pieces = [*BERT_PIECES[:5], *map(chr, range(ord("a"), ord("z") + 1))]
    write(tmp_path, vocab="\n".join(pieces) + "\n", tokenizer_config={"do_lower_case": False})
    assert load_tokenizer(tmp_path).encode_batch(["A a"]) == [[1, 5]]


def test_an_id_of_thousands_of_digits_is_refused(tmp_path):
    decoder = {"9" * 5000: {"content": "[PAD]"}}
    folder = bert_folder(tmp_path, do_lower_case=False, added_tokens_decoder=decoder)
    assert 'added_tokens_decoder has {"content": "[PAD]"} as "999' in refusal(folder)
