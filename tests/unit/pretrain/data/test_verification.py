"""What a run reads is what was written: blocks, what is remembered, and files that change."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretrain.data import blocks, store_file, verification
from pretrain.data.store import TokenStore
from pretrain.data.store_file import DamagedStore, OpenFiles
from pretrain.data.verification import CheckedFile, Verification, verify, verify_used
from tests.helpers import random_documents, write_store


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A store of three shards and many blocks, that was written a while ago."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 256)
    documents = random_documents(0, 200)
    folder = write_store(tmp_path / "store", 103, 2500, train=documents, heldout=documents[:9])
    monkeypatch.setattr(verification, "SETTLED_SECONDS", -60)
    return folder


@pytest.fixture
def background(monkeypatch):
    """Nothing is small enough to be verified at once."""
    monkeypatch.setattr(verification, "AT_ONCE", 0)


@pytest.fixture
def verified(monkeypatch) -> list[tuple[str, int]]:
    """The blocks that are hashed from now on."""
    found, verify_block = [], CheckedFile.verify

    def verify_and_note(self, number, descriptor=None):
        if not self.name.endswith(".blocks"):
            found.append((self.name, number))
        verify_block(self, number, descriptor)

    monkeypatch.setattr(CheckedFile, "verify", verify_and_note)
    return found


def damage(path: Path, byte: int) -> None:
    with path.open("r+b") as file:
        file.seek(byte)
        (old,) = file.read(1)
        file.seek(byte)
        file.write(bytes([old ^ 4]))


def start(folder, data, **options) -> Verification:
    begun = Verification(folder, data, **options)
    begun.begin()
    return begun


def test_the_block_is_named(folder, data):
    tokens = folder / "train/00000.tokens"
    damage(tokens, 3 * 256 + 5)
    count = -(-tokens.stat().st_size // 256)
    said = rf"{tokens}: content is damaged \(block 4 of {count}, 256 bytes from byte 768 on\): "
    said += f"restore it, or delete {folder} to rebuild the store"
    with pytest.raises(DamagedStore, match=said):
        start(folder, data)


def test_what_was_verified_is_remembered_as_long_as_it_stays(folder, data, verified):
    facts = start(folder, data).facts()
    assert verified and facts["left_to_the_background"] == 0
    assert facts["verified_at_start"] == facts["bytes"]
    verified.clear()
    facts = start(folder, data).facts()
    assert not verified and facts["verified_by_earlier_starts"] == facts["bytes"]
    tokens = folder / "train/00000.tokens"
    before = tokens.stat()
    damage(tokens, 0)
    os.utime(tokens, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DamagedStore, match=r"00000.tokens: content is damaged"):
        start(folder, data)
    damage(tokens, 0)
    verified.clear()
    assert start(folder, data).is_done and verified  # the damage was a reason to forget


def test_always_and_never(folder, data, verified):
    start(folder, data)
    verified.clear()
    assert start(folder, replace(data, verify="always")).is_done and verified
    verified.clear()
    damage(folder / "train/00000.tokens", 0)
    never = start(folder, replace(data, verify="never"))
    assert not verified and never.facts()["mode"] == "never" and never.facts()["bytes"] == 0


def test_what_was_written_just_now_is_not_remembered(folder, data, monkeypatch):
    monkeypatch.setattr(verification, "SETTLED_SECONDS", 60)
    start(folder, data)
    assert start(folder, data).remembered_bytes == 0


def test_nodes_and_stores_remember_on_their_own(folder, data, monkeypatch):
    start(folder, data)
    monkeypatch.setattr(verification.platform, "node", lambda: "other")
    assert start(folder, data).remembered_bytes == 0
    assert len(list(Path(data.cache, "verified").iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"files": 5}', b'{"files": {"a": 1}}'])
def test_a_torn_memory_is_none(folder, data, content):
    start(folder, data)
    (record,) = Path(data.cache, "verified").iterdir()
    record.write_bytes(content)
    assert start(folder, data).remembered_bytes == 0


def test_a_cache_that_takes_nothing_is_told(folder, data, console):
    Path(data.cache).write_text("no folder")
    assert start(folder, data).is_done
    assert "which remembers what was verified, could not be made" in console.readouterr().err


def test_the_background_verifies_all(folder, data, background):
    begun = start(folder, data)
    assert begun.verified_bytes == sum(p.stat().st_size for p in folder.glob("*/*.blocks"))
    begun.continue_in_background()
    wait_for(lambda: begun.is_done)
    assert begun.damage is None
    wait_for(lambda: start(folder, data).is_done)


def test_the_background_notes_damage(folder, data, background):
    damage(folder / "train/00001.tokens", 700)
    begun = start(folder, data)
    begun.continue_in_background()
    wait_for(lambda: begun.damage)
    assert "00001.tokens: content is damaged (block 3 of " in begun.damage
    assert start(folder, data).remembered_bytes == 0


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_used_blocks_are_verified_before_they_certify(folder, data, background, verified):
    store = TokenStore.open(folder, "train")
    first = int(store.shard_starts[1])
    store.gather(np.asarray([0, first + 200, 120]), np.asarray([2, first + 203, 400]))
    used = [np.flatnonzero(shard.used).tolist() for shard in store.shards]
    assert used == [[0, 1, 2, 3], [1], []]
    begun = start(folder, data)
    begun.need(store.shards, [shard.used for shard in store.shards])
    assert begun.catch_up(60.0) == 0 and begun.damage is None
    tokens = sorted(block for block in verified if block[0].endswith(".tokens"))
    assert tokens == [*(("train/00000.tokens", n) for n in range(4)), ("train/00001.tokens", 1)]
    ends = {name for name, _ in verified if name.endswith("_ends")}
    assert len(ends) == 2 * 4


def test_only_used_damage_ends_a_run_before_the_background_comes_there(folder, data, background):
    damage(folder / "train/00000.tokens", 300)
    store = TokenStore.open(folder, "train")
    store.tokens(0, 100)
    verify_used(folder, data, store.shards)
    store.tokens(0, 129)
    with pytest.raises(DamagedStore, match="block 2 of"):
        verify_used(folder, data, store.shards)


def test_catching_up_ends_when_its_time_is_over(folder, data, background):
    begun = start(folder, data)
    for checked in begun.files:
        checked.needed[:] = True
    left = begun.catch_up(0.0)
    assert left > 4
    assert begun.catch_up(60.0) == 0 < left


def test_a_file_cut_under_a_reader(folder):
    store = TokenStore.open(folder, "train")
    path = folder / "train/00000.tokens"
    os.truncate(path, 300)
    assert len(store.tokens(0, 150)) == 150
    with pytest.raises(DamagedStore, match=f"{path}: cut short: nothing from byte 300 on: restore"):
        store.tokens(100, 160)
    path.unlink()
    assert len(store.tokens(0, 150)) == 150  # it is still open


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    store = TokenStore.open(folder, "train")

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store_file.os, "preadv", fail)
    with pytest.raises(DamagedStore, match=r"cannot be read \(Input/output error\): restore"):
        store.tokens(0, 10)


def test_few_files_are_open_at_once(folder, monkeypatch):
    monkeypatch.setattr(store_file, "most_open", lambda: 1)
    store = TokenStore.open(folder, "train")
    open_before = len(os.listdir("/proc/self/fd"))
    second = int(store.shard_starts[1])
    for _ in range(3):
        store.gather(np.asarray([0, second]), np.asarray([2, second + 2]))
    assert len(os.listdir("/proc/self/fd")) == open_before
    (folder / "train/00000.tokens").unlink()
    with pytest.raises(DamagedStore, match=r"00000.tokens: No such file or directory: restore it"):
        store.tokens(0, 2)


def test_descriptors_are_closed_with_the_store(folder):
    before = len(os.listdir("/proc/self/fd"))
    store = TokenStore.open(folder, "train")
    assert len(os.listdir("/proc/self/fd")) == before + len(store.shards)
    del store
    assert len(os.listdir("/proc/self/fd")) == before
    assert OpenFiles()._most >= store_file.FEWEST_OPEN


@pytest.mark.parametrize("what", ["replaced", "written", "deleted"])
def test_a_file_that_changed_under_the_run_is_noted(folder, data, what):
    begun, path = start(folder, data), folder / "train/00000.tokens"
    begun.check_unchanged()
    assert begun.damage is None
    if what == "replaced":
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").replace(path)
    elif what == "written":
        damage(path, 0)
    else:
        path.unlink()
    begun.check_unchanged()
    assert begun.damage and str(path) in begun.damage


def test_damaged_hashes_are_told(folder, data):
    damage(folder / "train/00000.blocks", 40)
    with pytest.raises(DamagedStore, match=r"00000.blocks: content is damaged"):
        verify(folder, data)
