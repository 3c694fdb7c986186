"""The manifest of a token store: sizes and sha256 of every file, written last.

The hash of its own content stands in it. Whoever reads one may rely on it: what it says was
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
from pretrain.data.blocks import PARTS, digest_bytes

FORMAT_VERSION = 2
COUNTS = "unigram_counts.npy"
SIZES = ("documents", "sentences", "tokens")
DTYPES = ("<u2", "<u4")
ENDS = np.dtype("<u8")
SHA256 = re.compile("[0-9a-f]{64}")
SEAL = "sealed"
"""the name of a table's own hash in it"""
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
    write_text(folder / "manifest.json", json.dumps(sealed(manifest), indent=1))


def sealed(content: dict) -> dict:
    """A table with the hash of everything else in it."""
    return {**content, SEAL: digest(content)}


def check_seal(content: dict) -> None:
    """Raise `ValueError` where a table is not as it was sealed; older ones have no seal."""
    own = digest(_without(content, SEAL))
    _expect(content.get(SEAL, own) == own, "its content has changed")


def digest(value: dict[str, Any]) -> str:
    """sha256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def fingerprint(manifest: dict) -> str:
    """sha256 of what a store holds: of its manifest without the seal and the hashes of blocks,
    which say nothing more than those of the files, and which older stores lack."""
    splits = {
        split: {**content, "shards": [_without(shard, "blocks") for shard in content["shards"]]}
        for split, content in manifest["splits"].items()
    }
    return digest({**_without(manifest, SEAL), "splits": splits})


def _without(table: dict, name: str) -> dict:
    return {key: value for key, value in table.items() if key != name}


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
        check_seal(manifest)
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
    if "blocks" in shard:
        _check_blocks(shard["blocks"], [files[part]["bytes"] for part in PARTS], where)


def _check_blocks(entry: Any, sizes: list[int], where: str) -> None:
    _check_entry(entry, f"{where}: blocks")
    block_bytes = _count(entry.get("block_bytes"))
    _expect(block_bytes > 0, f"{where}: block_bytes is no size")
    wanted = digest_bytes(sizes, block_bytes)
    _expect(entry["bytes"] == wanted, f"{where}: there are not as many blocks")


def _check_entry(entry: Any, where: str) -> None:
    _expect(isinstance(entry, dict), f"{where} is no table")
    _expect(_count(entry.get("bytes")) > 0, f"{where}: bytes is no size")
    sha256 = entry.get("sha256")
    is_hash = isinstance(sha256, str) and SHA256.fullmatch(sha256) is not None
    _expect(is_hash, f"{where}: sha256 is no hash")


def _count(value: Any) -> int:
    """A count as it is; -1 for whatever is none."""
    return value if type(value) is int and value >= 0 else -1


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def find_torn(folder: Path, splits: dict[str, dict]) -> Path | None:
    """The first file of a store or piece that is missing or has not its size."""
    for name, entry in files_of(splits):
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            return file
    return None


def files_of(splits: dict[str, dict]) -> Iterable[tuple[str, dict]]:
    """Name and entry of every file, from the store's folder on."""
    for split, content in splits.items():
        yield f"{split}/{COUNTS}", content["unigram_counts"]
        for shard in content["shards"]:
            for part, entry in shard["files"].items():
                yield f"{shard['name']}.{part}", entry
            if "blocks" in shard:
                yield f"{shard['name']}.blocks", shard["blocks"]
