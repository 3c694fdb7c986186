"""Hashes of large files are computed once, and anew as soon as the file changes."""

from __future__ import annotations

import hashlib
import os

import pytest

from configs.system import file_hashes
from configs.system.file_hashes import hash_files


@pytest.fixture
def counted(monkeypatch):
    """The paths that were read to be hashed; every file counts as large and settled."""
    read, whole = [], file_hashes.sha256_file
    monkeypatch.setattr(file_hashes, "LARGE", 1)
    monkeypatch.setattr(file_hashes, "SETTLED_SECONDS", -60)
    monkeypatch.setattr(file_hashes, "sha256_file", lambda path: read.append(path) or whole(path))
    return read


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once(tmp_path, counted):
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"text")
    assert [hash_files([path], cache) for _ in range(3)] == [[sha(b"text")]] * 3
    assert counted == [path]


def test_a_change_is_seen_though_size_and_time_are_set_back(tmp_path, counted):
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"text")
    before = path.stat()
    hash_files([path], cache)
    path.write_bytes(b"next")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hash_files([path], cache) == [sha(b"next")]


def test_what_changed_just_now_is_not_kept(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(file_hashes, "SETTLED_SECONDS", 60)
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"text")
    for _ in range(2):
        assert hash_files([path], cache) == [sha(b"text")]
    assert counted == [path, path]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"state": 1, "sha256": 5}'])
def test_a_torn_record_is_made_anew(tmp_path, counted, damage):
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"text")
    hash_files([path], cache)
    (record,) = cache.glob("*.json")
    record.write_bytes(damage)
    assert hash_files([path], cache) == [sha(b"text")]
