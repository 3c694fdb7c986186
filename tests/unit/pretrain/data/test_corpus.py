"""The same store from any number of jobs, kept through kills, joined without touching a token."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from configs.errors import InputError
from configs.schema import DataConfig, PretrainConfig, SourceConfig, TokenizerConfig
from pretrain.data import corpus as module
from pretrain.data.corpus import merge_shards, prepare, prepare_shard, prepare_store
from pretrain.data.manifest import read_manifest
from pretrain.data.tokenise import claimed
from pretrain.text.sentences import word_set
from tokenizer.training import train_tokenizer

WORDS = sorted(word_set("the of and to in is was for as with on by that from at are were this an"))
from pretrain.data.store import TokenStore
from pretrain.data.verification import verify


def text(number: int) -> str:
    rng = random.Random(number)
    sentences = (" ".join(rng.choices(WORDS, k=rng.randint(3, 12))) for _ in range(6))
    return ". ".join(sentence.capitalize() for sentence in sentences) + "."


TEXTS = [text(number) for number in range(400)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "saved"
    size = {"vocabulary_size": 160, "allow_smaller_vocabulary": True}
    train_tokenizer(TokenizerConfig(kind="wordpiece", **size), TEXTS).save(folder)
    return folder


@pytest.fixture
def config(tmp_path, tokenizer) -> PretrainConfig:
    """Two sources of several pieces; of the second, every second document counts."""
    rows = [json.dumps({"text": text}) for text in TEXTS]
    (tmp_path / "a.jsonl").write_text("\n".join(rows[:250]))
    (tmp_path / "b.txt").write_text("\n".join(TEXTS[250:]))
    sources = [
        SourceConfig("jsonl", str(tmp_path / "a.jsonl"), weight=1.5),
        SourceConfig("text", str(tmp_path / "b.txt"), documents="line", weight=0.5),
    ]
    data = DataConfig(
        sources, heldout_fraction=0.1, piece_megabytes=0.008, cache=str(tmp_path / "cache")
    )
    return PretrainConfig(data=data, tokenizer=TokenizerConfig(path=str(tokenizer)))


def with_cache(config: PretrainConfig, cache: Path) -> PretrainConfig:
    return replace(config, data=replace(config.data, cache=str(cache)))


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def pieces(config) -> int:
    count = len(module._numbers(module.units_of(config.data)))
    assert count > 8
    return count


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_the_store_does_not_depend_on_the_number_of_jobs(config, tmp_path, shards):
    alone = prepare(with_cache(config, tmp_path / "alone"))
    for shard in random.Random(shards).sample(range(shards), shards):
        assert "pieces in" in prepare_shard(config, shard, shards)
    store = merge_shards(config, shards)
    verify(store, config.data)
    assert content(store) == content(alone.folder)
    assert store.name == alone.folder.name
    assert prepare(config).fingerprint == alone.fingerprint


def tokens_of(split: TokenStore) -> list[int]:
    return np.concatenate([shard.read() for shard in split.shards]).tolist()


def test_the_store_is_that_of_one_single_piece(config, tmp_path):
    """Documents, their order and their split do not depend on where pieces end."""
    many = prepare(config)
    data = replace(config.data, piece_megabytes=256.0, cache=str(tmp_path / "one"))
    one = prepare(replace(config, data=data))
    assert len(many.train.shards) > 8 and len(one.train.shards) == len(config.data.sources)
    for split in ("train", "heldout"):
        a, b = getattr(many, split), getattr(one, split)
        assert tokens_of(a) == tokens_of(b)
        assert a.sentence_ends.tolist() == b.sentence_ends.tolist()
        assert a.document_ends.tolist() == b.document_ends.tolist()
        assert a.unigram_counts.tolist() == b.unigram_counts.tolist()
        assert a.text_bytes == b.text_bytes


def test_bytes_are_those_of_the_text(config, tmp_path):
    """What bits per byte divide by: what lies between documents, and their markers, is no text."""
    texts = [f"The \u00e4 was {number}. And \ud55c is with it." for number in range(100, 160)]
    (tmp_path / "c.txt").write_text("\n".join(texts), encoding="utf-8")
    source = SourceConfig("text", str(tmp_path / "c.txt"), documents="line")
    corpus = prepare(replace(config, data=replace(config.data, sources=[source])))
    assert len(texts[0].encode()) == 35
    for split in (corpus.train, corpus.heldout):
        assert len(split.sentence_ends) == 2 * len(split.document_ends)
        assert split.text_bytes == 35 * len(split.document_ends)
    assert corpus.train.text_bytes + corpus.heldout.text_bytes == 35 * 60


def test_joining_touches_no_token_file(config):
    for shard in range(3):
        prepare_shard(config, shard, 3)
    (folder,) = (p for p in Path(config.data.cache, "stores").iterdir() if p.is_dir())

    def files() -> dict[Path, tuple[int, int]]:
        found = [p for p in folder.rglob("*") if p.suffix in (".tokens", ".sentence_ends")]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    before = files()
    assert merge_shards(config, 3) == folder
    assert files() == before and len(before) > 16


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def test_a_damaged_piece_is_made_anew_as_it_is_said(config, tmp_path):
    alone = prepare(with_cache(config, tmp_path / "alone"))
    for shard in range(3):
        prepare_shard(config, shard, 3)
    (folder,) = (p for p in Path(config.data.cache, "stores").iterdir() if p.is_dir())
    flip_a_bit(folder / "00002/train/00000.tokens")
    flip_a_bit(folder / "00003/train/unigram_counts.npy")
    with pytest.raises(InputError, match="00003 to make that piece anew"):
        merge_shards(config, 3)
    shutil.rmtree(folder / "00003")
    store = prepare_store(config)
    with pytest.raises(InputError, match=r"manifest\.json and .*00002 to make that piece anew"):
        verify(store, config.data)
    (folder / "manifest.json").unlink()
    shutil.rmtree(folder / "00002")
    assert content(prepare(config).folder) == content(alone.folder)


def test_a_tokenizer_of_another_store_is_refused(config, tmp_path):
    corpus = prepare(config)
    texts = [f"other {chr(97 + n % 26)}{chr(97 + n % 7)} text {n}" for n in range(400)]
    choice = TokenizerConfig("byte-bpe", 514, allow_smaller_vocabulary=True)
    train_tokenizer(choice, texts).save(corpus.folder / "tokenizer")
    with pytest.raises(InputError, match="tokenizer is not the one that the store was made with"):
        prepare(config)


def test_missing_shards_are_named(config, pieces):
    for shard in (0, 3):
        prepare_shard(config, shard, 4)
    with pytest.raises(InputError, match=r"shard 1, 2: run this command with --shard 1") as error:
        merge_shards(config, 4)
    assert f"of {pieces} pieces are missing" in str(error.value)
    prepare_shard(config, 1, 4)
    with pytest.raises(InputError, match="shard 2: run"):
        merge_shards(config, 4)


def test_one_process_finishes_what_jobs_began(config, console):
    prepare_shard(config, 1, 3)
    (folder,) = (p for p in Path(config.data.cache, "stores").iterdir() if p.is_dir())
    kept = {path: path.stat().st_ino for path in folder.rglob("*.tokens")}
    prepare(config)
    assert "pieces are there, making the rest" in console.readouterr().err
    assert kept.items() <= {path: path.stat().st_ino for path in folder.rglob("*.tokens")}.items()


def test_a_torn_piece_is_made_anew_and_leftovers_go(config):
    prepare_shard(config, 0, 2)
    (folder,) = (p for p in Path(config.data.cache, "stores").iterdir() if p.is_dir())
    victim = folder / "00002" / "train" / "00000.tokens"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-2])
    for name in (".00002.0123abcd", ".00003.0123abcd"):
        (folder / name / "train").mkdir(parents=True)
        (folder / name / "train" / "00000.tokens").write_bytes(b"half")
    prepare_shard(config, 0, 2)
    assert victim.read_bytes() == whole
    assert not (folder / ".00002.0123abcd").exists()
    assert (folder / ".00003.0123abcd").exists(), "another job may be writing it"
    prepare_store(config)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_piece_that_another_job_writes_is_left_to_it(tmp_path):
    with FileLock(tmp_path / ".00004.lock"):
        (tmp_path / ".00004.0123abcd").mkdir()
        with claimed(tmp_path, 4, wait=False) as is_ours:
            assert not is_ours
        assert (tmp_path / ".00004.0123abcd").exists()
    with claimed(tmp_path, 4, wait=False) as is_ours:
        assert is_ours
    assert not (tmp_path / ".00004.0123abcd").exists()


def test_too_little_text_leaves_nothing(config, tmp_path):
    (tmp_path / "b.txt").write_text("  \n\n")
    with pytest.raises(InputError, match=r"b\.txt holds no text"):
        prepare(config)
    data = replace(config.data, sources=config.data.sources[:1], heldout_fraction=1e-9)
    with pytest.raises(InputError, match="fell into the heldout split"):
        prepare(replace(config, data=data))
    assert not list(Path(config.data.cache).rglob("*.tokens"))


def test_shards_of_a_finished_store(config):
    folder = prepare_store(config)
    assert "finished already" in prepare_shard(config, 0, 2)
    assert merge_shards(config, 2) == folder
    named = replace(config, data=replace(config.data, store=str(folder)))
    for call in (lambda: prepare_shard(named, 0, 2), lambda: merge_shards(named, 2)):
        with pytest.raises(InputError, match="names a finished store"):
            call()
    assert read_manifest(folder)["format_version"] == 2


def test_a_tokenizer_that_does_not_fit_is_told(config, tmp_path, console):
    (tmp_path / "b.txt").write_text("\n".join(f"가나 다라 {n} " * 9 for n in range(150)))
    prepare(config)
    said = console.readouterr().err
    assert "% of all tokens are [UNK]: the tokenizer does not fit this text" in said
    (tmp_path / "b.txt").write_text("\n".join(TEXTS[250:]))
    prepare(config)
    assert "[UNK]" not in console.readouterr().err


def test_what_is_left_out_is_told(config, tmp_path, console):
    (tmp_path / "rows").mkdir()
    rows = [json.dumps({"text": text}) for text in [None, " ", "", *TEXTS[:97]]]
    (tmp_path / "rows" / "a.jsonl").write_text("\n".join(rows))
    (tmp_path / "rows" / ".b.jsonl").write_text("hidden")
    (tmp_path / "rows" / "README.md").write_text("other")
    source = SourceConfig("jsonl", str(tmp_path / "rows"))
    config = replace(config, data=replace(config.data, sources=[source]))
    store = prepare(config)
    said = console.readouterr().err
    assert (
        f"data.sources.0 ({source.path}): left out: 1 of other kinds (README.md); 1 hidden or an "
        "editor's (.b.jsonl)" in said
    )
    assert "data.sources.0: left out 3 of 100 rows, which hold no text (null or blank)" in said
    assert len(store.train.document_ends) + len(store.heldout.document_ends) == 97
