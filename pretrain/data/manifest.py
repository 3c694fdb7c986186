"""The manifest of a token store: sizes and sha256 of every file, written last.

It holds the hash of its own content. A manifest that was read can be relied on: what it says was
checked, and every file has its size.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import InputError
from configs.system.files import write_text
from configs.system.json_files import read_json
from pretrain.data.blocks import PARTS, Entry, digest_bytes

FORMAT_VERSION = 2
COUNTS = "unigram_counts.npy"
SIZES = ("documents", "sentences", "tokens")
DTYPES = ("<u2", "<u4")
ENDS = np.dtype("<u8")
SHA256 = re.compile("[0-9a-f]{64}")
SEAL = "sealed"
"""the name under which an object's own hash stands in it"""
NAME = re.compile(r"\w[\w-]{0,63}(/\w[\w-]{0,63}){0,3}")
"""of a shard's files, from the store's folder on; never leads out of it"""


def write_manifest(
    folder: Path,
    splits: dict[str, Entry],
    dtype: np.dtype,
    identity: Entry,
    sources: Entry | None = None,
) -> None:
    """Complete the store in `folder`.

    Args:
        identity: what it was made from.
        sources: what tells its sources apart (`store_sources.py`), if anything does.
    """
    manifest = {
        "format_version": FORMAT_VERSION,
        "dtype": dtype.str,
        "identity": identity,
        "splits": splits,
        **(sources or {}),
    }
    write_text(folder / "manifest.json", json.dumps(sealed(manifest), indent=1))


def sealed(content: Entry) -> Entry:
    """An object with the hash of everything else in it."""
    return {**content, SEAL: digest(content)}


def check_seal(content: Entry) -> None:
    """Raise `ValueError` where an object is not as it was sealed; older ones have no seal."""
    own = digest(_without(content, SEAL))
    _expect(content.get(SEAL, own) == own, "its content has changed")


def digest(value: dict[str, Any]) -> str:
    """sha256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def fingerprint(manifest: Entry) -> str:
    """sha256 of what a store holds: of its manifest without the seal, the hashes of blocks, and
    where its sources lie."""
    # They say nothing more than the hashes of the files and the identity, and stores of earlier
    # versions lack them: with them an old store and a new one of the same text would count as two.
    splits = {
        split: {**content, "shards": [_without(shard, "blocks") for shard in content["shards"]]}
        for split, content in manifest["splits"].items()
    }
    return digest({**_without(_without(manifest, SEAL), "sources"), "splits": splits})


def _without(content: Entry, name: str) -> Entry:
    return {key: value for key, value in content.items() if key != name}


def read_manifest(folder: Path) -> Entry:
    """The manifest of a whole store; raises `InputError`: no store, another format version, or a
    file of the wrong size."""
    path = folder / "manifest.json"
    if not path.exists():
        raise InputError(f"{folder}: no token store here (manifest.json is missing)")
    manifest = read_json(path, "delete the folder to rebuild it")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path}: another format version: delete the folder to rebuild it")
    try:
        _expect(manifest.get("dtype") in DTYPES, f"dtype is none of {', '.join(DTYPES)}")
        check_splits(manifest.get("splits"), np.dtype(manifest["dtype"]))
        check_seal(manifest)
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}): delete the folder to rebuild it") from error
    if file := find_torn(folder, manifest["splits"]):
        raise InputError(f"{file}: missing or cut short: delete {folder} to rebuild the store")
    return manifest


def check_splits(splits: object, dtype: np.dtype) -> None:
    """Raise `ValueError` where the splits of a store or piece are not as they are written."""
    for name, content in _table(splits, "splits").items():
        _expect(NAME.fullmatch(name) is not None, f"no split is called {name!r}")
        split = _table(content, name)
        _expect(isinstance(split.get("shards"), list), f"{name}: shards is no list")
        for number, shard in enumerate(split["shards"]):
            _check_shard(shard, f"{name}, shard {number}", dtype)
        for key in SIZES:
            total = sum(shard[key] for shard in split["shards"])
            _expect(_count(split.get(key)) == total, f"{name}: {key} is not that of its shards")
        _expect(_count(split.get("text_bytes")) >= 0, f"{name}: text_bytes is no count")
        _check_entry(split.get("unigram_counts"), f"{name}: unigram_counts")


def _check_shard(content: object, where: str, dtype: np.dtype) -> None:
    shard = _table(content, where)
    name = shard.get("name")
    _expect(isinstance(name, str) and NAME.fullmatch(name) is not None, f"{where} has no fit name")
    files = _table(shard.get("files"), f"{where}: files")
    # A file's size is the number of its entries by their width: what the manifest says of a shard
    # in two ways must agree, or arrays would be read beyond their end.
    widths = {"tokens": dtype.itemsize, "sentence_ends": ENDS.itemsize}
    widths["document_ends"] = ENDS.itemsize
    for (part, width), key in zip(widths.items(), reversed(SIZES)):
        _check_entry(files.get(part), f"{where}: {part}")
        size = _count(shard.get(key)) * width
        _expect(size > 0 and size == files[part]["bytes"], f"{where}: {part} has not {key}'s size")
    _expect(len(files) == len(widths), f"{where} has unknown files")
    if "blocks" in shard:
        _check_blocks(shard["blocks"], [files[part]["bytes"] for part in PARTS], where)


def _check_blocks(content: object, sizes: list[int], where: str) -> None:
    entry = _check_entry(content, f"{where}: blocks")
    block_bytes = _count(entry.get("block_bytes"))
    _expect(block_bytes > 0, f"{where}: block_bytes is no size")
    wanted = digest_bytes(sizes, block_bytes)
    _expect(entry["bytes"] == wanted, f"{where}: there are not as many blocks")


def _check_entry(content: object, where: str) -> Entry:
    entry = _table(content, where)
    _expect(_count(entry.get("bytes")) > 0, f"{where}: bytes is no size")
    sha256 = entry.get("sha256")
    is_hash = isinstance(sha256, str) and SHA256.fullmatch(sha256) is not None
    _expect(is_hash, f"{where}: sha256 is no hash")
    return entry


def _table(value: object, where: str) -> Entry:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no table")
    return value


def _count(value: object) -> int:
    """A count as it is; -1 for whatever is none."""
    return value if type(value) is int and value >= 0 else -1


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def find_torn(folder: Path, splits: dict[str, Entry]) -> Path | None:
    """The first file of a store or piece that is missing or has not its size."""
    for name, entry in files_of(splits):
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            return file
    return None


def files_of(splits: dict[str, Entry]) -> Iterable[tuple[str, Entry]]:
    """Name and entry of every file, from the store's folder on."""
    for split, content in splits.items():
        yield f"{split}/{COUNTS}", content["unigram_counts"]
        for shard in content["shards"]:
            for part, entry in shard["files"].items():
                yield f"{shard['name']}.{part}", entry
            if "blocks" in shard:
                yield f"{shard['name']}.blocks", shard["blocks"]
