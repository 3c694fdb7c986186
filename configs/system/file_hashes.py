"""The sha256 of large files, computed once for all jobs that share a cache."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from configs.system.files import sha256_file, write_text
from configs.system.json_files import recall_json
from configs.system.notes import optional
from configs.system.waiting import locked

LARGE = 64_000_000
"""bytes; smaller files are hashed each time"""
SETTLED_SECONDS = 5
"""a file that changed later than this before it was hashed might change again unseen"""


class FileState(TypedDict):
    """What changes with a file's content."""

    path: str
    bytes: int
    inode: int
    modified: int
    changed: int
    """which cannot be set by hand, unlike `modified`; both in nanoseconds"""


def hash_files(paths: list[Path], cache: Path | None, keeps: bool = True) -> list[str]:
    """The sha256 of each file.

    Args:
        cache: folder that keeps those of large files, by place, size, inode and times of change;
            of several jobs one computes and the others wait. None: compute all.
        keeps: write what is computed; else records are read, and nothing is made or written.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda path: _hash(path, cache, keeps), paths))


def unknown_bytes(paths: list[Path], cache: Path) -> int:
    """How much `hash_files` would have to read."""
    return sum(path.stat().st_size for path in paths if known_hash(path, cache) is None)


def known_hash(path: Path, cache: Path) -> str | None:
    """The sha256 that the cache has of a file as it is now, if any."""
    known = recall_json(_record(path, cache))
    digest = known.get("sha256")
    is_of_file = isinstance(digest, str) and known.get("state") == file_state(path)
    return digest if is_of_file else None


def _hash(path: Path, cache: Path | None, keeps: bool) -> str:
    if cache is None or path.stat().st_size < LARGE:
        return sha256_file(path)
    if not keeps:
        return known_hash(path, cache) or sha256_file(path)
    cache.mkdir(parents=True, exist_ok=True)
    record = _record(path, cache)
    with locked(record.with_suffix(".lock"), f"another process to hash {path}"):
        if known := known_hash(path, cache):
            return known
        state = file_state(path)
        digest = sha256_file(path)
        changed = max(state["modified"], state["changed"]) / 1e9
        if state == file_state(path) and changed < time.time() - SETTLED_SECONDS:
            with optional(f"{record}, which remembers a hash,"):
                write_text(record, json.dumps({"state": state, "sha256": digest}))
        return digest


def _record(path: Path, cache: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return cache / f"{name}.json"


def file_state(path: Path) -> FileState:
    """The file as it is now."""
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "bytes": status.st_size,
        "inode": status.st_ino,
        "modified": status.st_mtime_ns,
        "changed": status.st_ctime_ns,
    }
