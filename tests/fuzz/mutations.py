"""Ways to damage bytes, JSON and tensors."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

NO_NUMBER = ["three", [1], {"a": 1}, True, None, 1.5, float("nan")]
"""what no count may be"""
NO_TEXT = [5, [1], {"a": 1}, None]
NO_TABLE = [5, "text", [1], None]
NO_LIST = [5, "text", {"a": 1}, None]


def truncate(rng: random.Random, content: bytes) -> bytes:
    """The first part."""
    return content[: rng.randrange(len(content) * 9 // 10)]


def junk(rng: random.Random, content: bytes) -> bytes:
    """Random bytes that are neither UTF-8 nor YAML nor JSON."""
    return b"\xff\x00" + rng.randbytes(rng.randint(1, 400))


def nothing(rng: random.Random, content: bytes) -> bytes:
    """No byte at all."""
    return b""


def insert_junk(rng: random.Random, content: bytes) -> bytes:
    """A byte that is not UTF-8, somewhere."""
    at = rng.randrange(len(content))
    return content[:at] + b"\xff" + content[at:]


def other_json(rng: random.Random, content: bytes) -> bytes:
    """JSON of another kind than an object."""
    return rng.choice([b"[]", b"null", b"5", b'"text"', b"[[1, 2]]", b"true", b"{}"])


DAMAGES: list[Callable[[random.Random, bytes], bytes]] = [
    truncate,
    junk,
    nothing,
    insert_junk,
    other_json,
]


def damage_file(rng: random.Random, path: Path, damages: list = DAMAGES) -> str:
    """Damage a file in place; what was done, in words."""
    damage = rng.choice(damages)
    path.write_bytes(damage(rng, path.read_bytes()))
    return f"{path.name}: {damage.__name__}"


def edit_json(path: Path, keys: list, value: Any = None, delete: bool = False) -> None:
    """Set, or delete, what `keys` lead to in a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(changed(content, keys, value, delete)), encoding="utf-8")


def changed(content: Any, keys: list, value: Any = None, delete: bool = False) -> Any:
    """A copy of nested dicts and lists with one place set or deleted."""
    content = copy.deepcopy(content)
    place = content
    for key in keys[:-1]:
        place = place[key]
    if delete:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return content


def sign(checkpoint: Path) -> None:
    """Make a checkpoint's hashes fit its files, so that only their content is wrong."""
    manifest = checkpoint / "manifest.json"
    hashes = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({name: _sha(checkpoint / name) for name in hashes}), "utf-8")
    if (checkpoint / "complete").is_file():
        (checkpoint / "complete").write_text(f"{_sha(manifest)}\n", encoding="utf-8")


def damage_tensors(rng: random.Random, path: Path) -> str:
    """Write a safetensors file whose table is another; what was done, in words."""
    damages = [_missing, _extra, _transposed, _longer, _integers, _renamed, _empty]
    damage = rng.choice(damages)
    tensors = load_file(path)
    name = rng.choice([n for n, t in sorted(tensors.items()) if t.ndim == 2])
    save_file({n: t.contiguous() for n, t in damage(tensors, name).items()}, path)
    return f"{path.name}:{damage.__name__} {name}"


def damage_header(rng: random.Random, path: Path) -> str:
    """Damage the header of a safetensors file; what was done, in words."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    headers = {
        "huge size": (2**62).to_bytes(8, "little") + content[8:],
        "size of nothing": bytes(8) + content[8:],
        "no JSON": content[:8] + b"x" * size + content[8 + size :],
        "offsets beyond the end": content[: len(content) - 64],
        "header alone": content[: 8 + size],
        "half a header": content[: 8 + size // 2],
        "nothing": b"",
    }
    name = rng.choice(sorted(headers))
    path.write_bytes(headers[name])
    return f"{path.name}: {name}"


def _missing(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {n: t for n, t in tensors.items() if n != name}


def _extra(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {**tensors, "encoder.layers.99.stowaway": torch.zeros(3)}


def _transposed(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {**tensors, name: torch.cat([tensors[name], tensors[name]], dim=1)}


def _longer(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {**tensors, name: torch.cat([tensors[name], tensors[name]])}


def _integers(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {**tensors, name: tensors[name].to(torch.int32)}


def _renamed(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {n if n != name else f"{n}_": t for n, t in tensors.items()}


def _empty(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {"nothing": torch.zeros(1)}


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
