"""Saved folders come back as they were, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import InputError
from tokenizer.base import MANIFEST, Tokenizer
from tokenizer.huggingface import write_huggingface
from tokenizer.load import load_tokenizer

KINDS = ("wordpiece", "byte-bpe", "sentencepiece")
MODEL_FILES = {"wordpiece": "vocab.txt", "byte-bpe": "merges.txt", "sentencepiece": "spiece.model"}
TEXTS = ["It returns the value of x.", "ㅋㅋㅋ 안녕", ""]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_folder_comes_back(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    tokenizer = trained[kind]
    for name in ("one", "two"):
        tokenizer.save(tmp_path / name)
        loaded = load_tokenizer(tmp_path / name)
        assert (loaded.kind, loaded.special) == (kind, tokenizer.special)
        assert loaded.pieces == tokenizer.pieces
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_export_loads_as_well(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    write_huggingface(trained[kind], tmp_path, max_length=128, segment_types=2)
    assert load_tokenizer(tmp_path).fingerprint == trained[kind].fingerprint


def test_save_replaces_the_folder(trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    trained["wordpiece"].save(tmp_path / "t")
    trained["byte-bpe"].save(tmp_path / "t")
    assert load_tokenizer(tmp_path / "t").kind == "byte-bpe"
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_failed_save_leaves_nothing(
    trained: dict[str, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Tokenizer, folder: Path) -> None:
        (folder / "vocab.txt").write_text("half")
        raise RuntimeError("stopped")

    monkeypatch.setattr(type(trained["wordpiece"]), "write_model", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        trained["wordpiece"].save(tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found(trained: dict[str, Tokenizer], kind: str, tmp_path: Path) -> None:
    trained[kind].save(tmp_path)
    path = tmp_path / MODEL_FILES[kind]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=str(tmp_path)):
        load_tokenizer(tmp_path)


def test_changed_settings_are_found(trained: dict[str, Tokenizer], tmp_path: Path) -> None:
    trained["wordpiece"].save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "do_lower_case": True}))
    with pytest.raises(InputError, match="fingerprint"):
        load_tokenizer(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", r"no piece \[MASK\]"),
        ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nthe\n", "'the' occurs twice"),
        ("vocab.txt", b"\xff\xfe", "no UTF-8"),
        ("x.model", b"not a model", "no SentencePiece model"),
        ("notes.md", b"", "holds no tokenizer"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)


def test_merges_of_another_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\na c\n")
    with pytest.raises(InputError, match=r"merges\.txt: the merge 'a c'"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 5}')
    with pytest.raises(InputError, match="ids are not 0 to 1"):
        load_tokenizer(tmp_path)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_tokenizer(tmp_path / "nothing")
