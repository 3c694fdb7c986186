"""ModernBERT's tokenizer: byte-level BPE of composed text, which is searched for added tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.tokenizer.settings_folders import (
    assert_round_trip,
    assert_same_ids,
    refusal,
    transformers,
    write,
)
from tokenizer.framing import Framing
from tokenizer.load import load_framed, load_tokenizer

ROLES = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
SEARCHED = ["|||EMAIL_ADDRESS|||", "    ", "  ", "[unused0]", "[unused1]"]
TEXTS = [
    "def f(x):\n        return x  # eight spaces",
    "a  b   c    d     e",
    "write to |||EMAIL_ADDRESS|||now, or to <|padding|> and [unused1][unused0]",
    "cafe\u0301 and \u1112\u1161\u11ab\u1100\u116e\u11a8 and \u212b",
    "",
    "  ",
]


def token(content: str, number: int, special: bool = False) -> dict[str, object]:
    options = {"single_word": False, "lstrip": content == "[MASK]", "rstrip": False}
    return {"id": number, "content": content, **options, "normalized": not special} | {
        "special": special
    }


@pytest.fixture
def folder(tmp_path, trained) -> Path:
    """The two files of a release, around a small vocabulary."""
    own = json.loads(trained["byte-bpe"].backend.to_str())["model"]
    ordinary = [piece for piece in own["vocab"] if not piece.startswith("<")]
    first = len(ordinary) + 1
    added = [token("<|padding|>", len(ordinary), True)]
    added += [token(content, first + n) for n, content in enumerate(SEARCHED)]
    last = first + len(SEARCHED)
    added += [token(name, last + n, True) for n, name in enumerate(ROLES.values())]
    ids = {entry["content"]: entry["id"] for entry in added}
    frame = {
        "single": "[CLS]:0 $A:0 [SEP]:0",
        "pair": "[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        "special_tokens": [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    }
    from tokenizers import processors

    template = processors.TemplateProcessing(**frame)
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", **level},
        "post_processor": json.loads(template.__getstate__()),
        "decoder": {"type": "ByteLevel", **level},
        "model": {
            "type": "BPE",
            "vocab": {piece: number for number, piece in enumerate(ordinary)},
            "merges": [list(pair) for pair in own["merges"]],
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {
            str(entry["id"]): {k: v for k, v in entry.items() if k != "id"} for entry in added
        },
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": True,
        "model_max_length": 8192,
        **{f"{role}_token": name for role, name in ROLES.items()},
    }
    return write(tmp_path / "release", tokenizer=content, tokenizer_config=config)


def test_ids_are_those_of_transformers(folder, tmp_path):
    tokenizer = load_framed(folder, "modernbert")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert_same_ids(tokenizer, theirs)
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    assert tokenizer.encode_batch(TEXTS) == expected
    assert len(expected[1]) < len("a  b   c    d     e") - 3, "spaces were found together"
    assert_round_trip(tokenizer, tmp_path)
    saved = load_tokenizer(tmp_path / "saved")
    assert saved.encode_batch(TEXTS) == expected
    assert load_tokenizer(tmp_path / "export").encode_batch(TEXTS) == expected
    assert tokenizer.framing == Framing(separators=1, second_segment=0)
    for text, ids in zip(TEXTS, expected):
        assert tokenizer.decode(ids) == tokenizer.normalize(text)


def test_names_of_special_tokens_stay_text(folder):
    tokenizer = load_tokenizer(folder)
    (ids,) = tokenizer.encode_batch(["a [MASK] b [CLS]"])
    assert not {*ids} & {*tokenizer.special.ids}


def test_a_run_of_spaces_begins_no_word_anew(folder):
    tokenizer = load_tokenizer(folder)
    spaces = tokenizer.pieces.index("    ")
    assert not tokenizer.continues_word[spaces]


def test_without_tokenizer_json_added_tokens_are_refused(folder, trained):
    own = json.loads(trained["byte-bpe"].backend.to_str())["model"]
    (folder / "tokenizer.json").unlink()
    merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in own["merges"])
    write(folder, words=own["vocab"], merges=merges)
    assert "texts are searched for the added token" in refusal(folder)


@pytest.mark.parametrize(
    "tokens", [5, [5], [{"content": ""}], [{"content": "x", "lstrip": 1}], [{"content": "nothing"}]]
)
def test_a_damaged_manifest_is_named(folder, tmp_path, tokens):
    load_tokenizer(folder).save(tmp_path / "saved")
    path = tmp_path / "saved" / "tokenizer.manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "searched_tokens": tokens}))
    line = refusal(tmp_path / "saved")
    assert str(tmp_path / "saved") in line and "\n" not in line
