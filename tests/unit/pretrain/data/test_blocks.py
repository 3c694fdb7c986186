"""Hashes by block: written with the store, joined without reading, and absent from older stores."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from configs.schema import DataConfig
from pretrain.data import blocks
from pretrain.data.blocks import BlockHasher, Blocks
from pretrain.data.manifest import fingerprint, read_manifest
from pretrain.data.store import TokenStore
from pretrain.data.verification import verify
from tests.helpers import random_documents, write_store


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 1000])
def test_blocks_do_not_depend_on_how_a_file_was_written(monkeypatch, size):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    content = np.random.default_rng(size).bytes(size)
    cuts = np.sort(np.random.default_rng(1).integers(0, size + 1, 9)).tolist()
    hasher = BlockHasher()
    for start, end in zip([0, *cuts], [*cuts, size]):
        hasher.update(content[start:end])
    assert hasher.entry == {"bytes": size, "sha256": hashlib.sha256(content).hexdigest()}
    wanted = [hashlib.sha256(content[at : at + 64]).digest() for at in range(0, size, 64)]
    assert hasher.digests == b"".join(wanted)
    cut = Blocks(size, 64, hasher.digests)
    places = [cut.place(number) for number in range(len(cut))]
    assert [content[at : at + held] for at, held in places] == [
        content[at : at + 64] for at in range(0, size, 64)
    ]


def without_blocks(folder):
    """As stores were made before: a manifest without blocks and seal."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sealed"]
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            del shard["blocks"]
    path.write_text(json.dumps(manifest, indent=1))
    for hashes in folder.glob("*/*.blocks"):
        hashes.unlink()


def test_an_older_store_is_read_and_verified_and_keeps_its_fingerprint(tmp_path):
    folder = write_store(tmp_path / "store", 103, 500, train=random_documents(0, 200))
    before = fingerprint(read_manifest(folder))
    without_blocks(folder)
    manifest = read_manifest(folder)
    whole = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    assert fingerprint(manifest) == before == whole
    store = TokenStore.open(folder, "train")
    assert [len(shard.used) for shard in store.shards] == [1] * len(store.shards)
    verify(folder, DataConfig(cache=str(tmp_path)))


def test_a_changed_manifest_is_refused(tmp_path):
    folder = write_store(tmp_path / "store", 103, train=random_documents(0, 20))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["text_bytes"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"damaged \(its content has changed\): delete the folder"):
        read_manifest(folder)
