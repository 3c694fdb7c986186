"""Folders of others: every setting that changes ids is honoured, or refused."""

from __future__ import annotations

import itertools
import json
import unicodedata
from pathlib import Path

import pytest

from configs.errors import InputError
from tests.unit.tokenizer.conftest import fixture_file
from tests.unit.tokenizer.unicode_page import LINES, letters, page
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


# -- WordPiece -------------------------------------------------------------------------------------

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


# -- byte-level BPE --------------------------------------------------------------------------------


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


# -- SentencePiece ---------------------------------------------------------------------------------

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


# -- damage ----------------------------------------------------------------------------------------

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
