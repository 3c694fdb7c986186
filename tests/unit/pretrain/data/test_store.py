"""The token store: what goes in comes out, and damage is told by the file's name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from configs.errors import InputError
from pretrain.data.manifest import read_manifest
from pretrain.data.store import SplitWriter, TokenStore, token_dtype
from pretrain.data.verification import verify
from tests.helpers import flatten, open_store, random_documents, write_store

DOCUMENTS = random_documents(0, 200)


def documents_in(store: TokenStore) -> list[list[list[int]]]:
    layout = store.layouts.whole
    sentences = [
        store.tokens(a, b).tolist() for a, b in zip(layout.sentence_starts, layout.sentence_ends)
    ]
    firsts = [0, *store.document_ends[:-1]]
    return [sentences[a:b] for a, b in zip(firsts, store.document_ends)]


@pytest.fixture
def folder(tmp_path):
    """A store of two splits and several shards."""
    return write_store(tmp_path / "store", 103, 500, train=DOCUMENTS, heldout=DOCUMENTS[:20])


@pytest.mark.parametrize("shard_tokens", [1, 500, 2**28])
def test_round_trip_over_shards(tmp_path, shard_tokens):
    store = open_store(tmp_path / "store", DOCUMENTS, shard_tokens)
    assert documents_in(store) == DOCUMENTS
    tokens = flatten(flatten(DOCUMENTS))
    assert store.token_count == len(tokens)
    assert store.unigram_counts.tolist() == np.bincount(tokens, minlength=103).tolist()
    assert store.text_bytes == len(tokens)
    assert len(store.shards) == {1: 200, 2**28: 1}.get(shard_tokens, len(store.shards)) > 0
    for shard in store.shards[:-1]:
        assert shard_tokens <= len(shard) < shard_tokens + 8 * 12
    order = np.random.default_rng(0).permutation(len(store.sentence_ends))
    starts, ends = store.layouts.whole.sentence_starts[order], store.sentence_ends[order]
    apart = [store.tokens(start, end) for start, end in zip(starts, ends)]
    assert store.gather(starts, ends).tolist() == np.concatenate(apart).tolist()


@pytest.mark.parametrize(
    ("vocabulary_size", "kind"), [(64, "<u2"), (2**16, "<u2"), (2**16 + 1, "<u4")]
)
def test_the_narrowest_type_is_chosen(tmp_path, vocabulary_size, kind):
    highest = vocabulary_size - 1
    folder = write_store(tmp_path / "store", vocabulary_size, train=[[[0, highest], [highest]]])
    (shard,) = TokenStore.open(folder, "train").shards
    assert shard.dtype == token_dtype(vocabulary_size) == np.dtype(kind)
    assert shard.read().tolist() == [0, highest, highest]


def test_an_id_just_beyond_the_vocabulary_is_damage(tmp_path):
    folder = write_store(tmp_path / "store", 64, train=[[[1, 2]]])
    (tokens,) = folder.glob("train/*.tokens")
    tokens.write_bytes(np.asarray([1, 64], "<u2").tobytes())
    with pytest.raises(InputError, match="id 64 is beyond the vocabulary of 64 entries"):
        TokenStore.open(folder, "train")


def test_empty_sentences_and_documents_are_dropped(tmp_path):
    store = open_store(tmp_path / "store", [[[1], [], [2, 3]], [], [[]], [[4]]])
    assert documents_in(store) == [[[1], [2, 3]], [[4]]]


def test_splits_are_kept_apart(folder):
    assert documents_in(TokenStore.open(folder, "heldout")) == DOCUMENTS[:20]
    assert read_manifest(folder)["splits"]["train"]["documents"] == 200


def test_the_same_text_makes_the_same_manifest(tmp_path, folder):
    other = write_store(tmp_path / "again", 103, 500, train=DOCUMENTS, heldout=DOCUMENTS[:20])
    assert read_manifest(other) == read_manifest(folder)


def test_a_whole_store_is_verified(folder, data):
    verify(folder, data)


def files_of(folder):
    return sorted(path for path in folder.rglob("*.*") if path.name != "manifest.json")


def test_every_damaged_or_cut_file_is_named(folder, data):
    assert len(files_of(folder)) > 2 * 4
    for path in files_of(folder):
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(InputError, match=f"{path}: content is damaged"):
            verify(folder, data)
        path.write_bytes(whole[:-1])
        with pytest.raises(InputError, match=f"{path}: missing or cut short"):
            TokenStore.open(folder, "train")
        path.unlink()
        with pytest.raises(InputError, match=f"{path}: missing or cut short"):
            TokenStore.open(folder, "train")
        path.write_bytes(whole)
    verify(folder, data)


def test_a_folder_without_manifest_is_no_store(tmp_path, folder):
    (folder / "manifest.json").unlink()
    for place in (folder, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=f"{place}: no token store here"):
            TokenStore.open(place, "train")


def test_a_damaged_manifest_is_named(folder):
    path = folder / "manifest.json"
    whole = path.read_bytes()
    other_version = json.dumps(json.loads(whole) | {"format_version": 0}).encode()
    for content in (b"", b"\xff", whole[:-1], whole[: len(whole) // 2], b"{}", other_version):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path}: .*: delete the folder") as error:
            read_manifest(folder)
        assert "\n" not in str(error.value)


def test_a_folder_that_holds_a_split_is_not_written_over(tmp_path):
    SplitWriter(tmp_path / "train", 64)
    with pytest.raises(FileExistsError):
        SplitWriter(tmp_path / "train", 64)


@pytest.mark.parametrize("part", ["tokens", "sentence_ends", "document_ends"])
def test_what_makes_no_sense_is_named_with_a_cure_that_cures(folder, part):
    """To prepare a store that is there changes nothing in it."""
    path = next(folder.glob(f"**/train/00000.{part}"))
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(InputError, match=f"{path}: .*: restore it, or delete"):
        TokenStore.open(folder, "train")
