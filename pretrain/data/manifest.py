"""The manifest of a token store: sizes and sha256 of every file, written last.

Whoever reads one may rely on it: what it says was checked, and every file has its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import InputError
from configs.files import sha256_file, write_text
from configs.json_files import read_json

FORMAT_VERSION = 2
COUNTS = "unigram_counts.npy"
SIZES = ("documents", "sentences", "tokens")
DTYPES = ("<u2", "<u4")
ENDS = np.dtype("<u8")
NAME = re.compile(r"\w[\w-]{0,63}(/\w[\w-]{0,63}){0,3}")
"""of a shard's files, from the store's folder on; never leads out of it"""


def write_manifest(folder: Path, splits: dict[str, dict], dtype: np.dtype, identity: dict) -> None:
    """Complete the store in `folder`; `identity` tells what it was made from."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "dtype": dtype.str,
        "identity": identity,
        "splits": splits,
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=1))


def read_manifest(folder: Path) -> dict:
    """The manifest of a whole store.

    Raises:
        InputError: no store, another format version, or a file of the wrong size.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise InputError(f"{folder}: no token store here (manifest.json is missing)")
    manifest = read_json(path, "delete the folder to rebuild it")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path}: another format version: delete the folder to rebuild it")
    try:
        _expect(manifest.get("dtype") in DTYPES, f"dtype is none of {', '.join(DTYPES)}")
        check_splits(manifest.get("splits"), np.dtype(manifest["dtype"]))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}): delete the folder to rebuild it") from error
    if file := find_torn(folder, manifest["splits"]):
        raise InputError(f"{file}: missing or cut short: delete {folder} to rebuild the store")
    return manifest


def check_splits(splits: Any, dtype: np.dtype) -> None:
    """Raise `ValueError` where the splits of a store or piece are not as they are written."""
    _expect(isinstance(splits, dict), "splits is no table")
    for name, split in splits.items():
        _expect(NAME.fullmatch(name) is not None, f"no split is called {name!r}")
        _expect(isinstance(split, dict), f"{name} is no table")
        _expect(isinstance(split.get("shards"), list), f"{name}: shards is no list")
        for number, shard in enumerate(split["shards"]):
            _check_shard(shard, f"{name}, shard {number}", dtype)
        for key in SIZES:
            total = sum(shard[key] for shard in split["shards"])
            _expect(_count(split.get(key)) == total, f"{name}: {key} is not that of its shards")
        _expect(_count(split.get("text_bytes")) >= 0, f"{name}: text_bytes is no count")
        _check_entry(split.get("unigram_counts"), f"{name}: unigram_counts")


def _check_shard(shard: Any, where: str, dtype: np.dtype) -> None:
    _expect(isinstance(shard, dict), f"{where} is no table")
    name, files = shard.get("name"), shard.get("files")
    _expect(isinstance(name, str) and NAME.fullmatch(name) is not None, f"{where} has no fit name")
    _expect(isinstance(files, dict), f"{where}: files is no table")
    widths = {"tokens": dtype.itemsize, "sentence_ends": ENDS.itemsize}
    widths["document_ends"] = ENDS.itemsize
    for (part, width), key in zip(widths.items(), reversed(SIZES)):
        _check_entry(files.get(part), f"{where}: {part}")
        size = _count(shard.get(key)) * width
        _expect(size > 0 and size == files[part]["bytes"], f"{where}: {part} has not {key}'s size")
    _expect(len(files) == len(widths), f"{where} has unknown files")


def _check_entry(entry: Any, where: str) -> None:
    _expect(isinstance(entry, dict), f"{where} is no table")
    _expect(_count(entry.get("bytes")) > 0, f"{where}: bytes is no size")
    _expect(isinstance(entry.get("sha256"), str), f"{where}: sha256 is no text")


def _count(value: Any) -> int:
    """A count as it is; -1 for whatever is none."""
    return value if type(value) is int and value >= 0 else -1


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def find_torn(folder: Path, splits: dict[str, dict]) -> Path | None:
    """The first file of a store or piece that is missing or has not its size."""
    for name, entry in _files(splits):
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            return file
    return None


def verify(folder: Path) -> None:
    """Hash every file of the store; raise `InputError` for the first that is damaged."""
    files = list(_files(read_manifest(folder)["splits"]))
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(lambda file: sha256_file(folder / file[0]), files)
        for (name, entry), found in zip(files, hashes):
            if found != entry["sha256"]:
                raise InputError(
                    f"{folder / name}: content is damaged: delete {folder} to rebuild the store"
                )


def _files(splits: dict[str, dict]) -> Iterable[tuple[str, dict]]:
    for split, content in splits.items():
        yield f"{split}/{COUNTS}", content["unigram_counts"]
        for shard in content["shards"]:
            for part, entry in shard["files"].items():
                yield f"{shard['name']}.{part}", entry
