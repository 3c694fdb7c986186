"""Tensors on disk: our own files, and published ones."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from configs.errors import InputError, first_line
from configs.system.files import check_regular, find_file
from configs.system.json_files import read_json, shown
from configs.system.run_names import WEIGHTS

WEIGHTS_FILES = (WEIGHTS, "pytorch_model.bin")
SHARD = re.compile(r"\w[\w.-]*\.(safetensors|bin)")
"""a shard's name: no folder in it, so it never leads out of its own"""
AGAIN = "fetch it anew"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `InputError` where it is damaged."""
    check_regular(path)
    try:
        return load_file(path)
    except Exception as error:  # whatever the library meets in bytes that are no tensors
        raise InputError(f"{path}: damaged ({first_line(error)}): restore or remove it") from error


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    """Names and shapes of all that a model's file holds."""
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def check_tensors(path: Path, tensors: dict[str, Tensor], shapes: dict[str, torch.Size]) -> None:
    """Raise `InputError` unless the tensors of a file are floats of these names and shapes."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{path}: {name} is missing: it belongs to another model, or is torn")
        if tensors[name].shape != shape or not tensors[name].is_floating_point():
            raise InputError(
                f"{path}: {name} is {tensors[name].dtype} of shape {tuple(tensors[name].shape)} "
                f"where a float of shape {tuple(shape)} is expected: it belongs to another model"
            )
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise InputError(f"{path}: {unknown[0]} is not known here: it belongs to another model")


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file that transformers reads too; raises `OSError`: as for any other
    file; the library's own error hides the number."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
        # The library lets nobody but the owner read; teams share models.
        path.chmod(0o644)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, str(error)) from error


# -- published folders, which nobody vouches for: no code runs, nothing is unfolded ---------------


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder, from one file or from shards.

    Raises:
        InputError: none there, or damaged; an index that names anything but files of the folder;
            a tensor that its shard lacks, or that two of them hold.
    """
    for name in WEIGHTS_FILES:
        if path := find_file(folder, name):
            return _read_published(path)
        if index := find_file(folder, f"{name}.index.json"):
            return _read_shards(index)
    raise InputError(f"{folder}: no weights: it must hold {' or '.join(WEIGHTS_FILES)}")


def _read_shards(index: Path) -> dict[str, Tensor]:
    places = _shards_of(index)
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        path = find_file(index.parent, shard)
        if path is None:
            raise InputError(f"{index.parent / shard}: missing, though {index.name} names it")
        own = _read_published(path)
        for name in own.keys() & tensors.keys():
            raise InputError(f"{path}: {name} is in another shard too: {AGAIN}")
        lacking = sorted(name for name, s in places.items() if s == shard and name not in own)
        if lacking:
            raise InputError(f"{path} lacks {lacking[0]}, which {index.name} has there: {AGAIN}")
        tensors |= own
    return tensors


def _shards_of(index: Path) -> dict[str, str]:
    """The shard of each tensor."""
    places = read_json(index, AGAIN).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index}: damaged (weight_map is no table of files): {AGAIN}")
    for name, shard in places.items():
        if not isinstance(shard, str) or not SHARD.fullmatch(shard):
            raise InputError(
                f"{index}: damaged ({shown(name)} is in {shown(shard)}, which is no .safetensors "
                f"or .bin of this folder): {AGAIN}"
            )
    return places


def _read_published(path: Path) -> dict[str, Tensor]:
    read: Callable[[Path], object] = _unpickle if path.suffix == ".bin" else load_file
    try:
        tensors = read(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, for it holds more than weights, which may execute code when it is "
            "read, or is damaged: take a safetensors version of the model"
        ) from error
    except InputError:
        raise
    except Exception as error:  # whatever a library meets in bytes that are no weights
        raise InputError(f"{path}: damaged ({first_line(error)}): {AGAIN}") from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise InputError(f"{path}: no table of tensors by name: take a saved state_dict")
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: a tensor is called {name!r}: take a saved state_dict")
        if fault := _fault(tensor):
            raise InputError(f"{path}: {name} is {fault}: save it as plain numbers")
    return tensors


def _unpickle(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            # torch.save only stores; what is compressed may unfold to anything.
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise InputError(f"{path}: its parts are compressed, as torch.save never does")
    return torch.load(path, map_location="cpu", weights_only=True)


def _fault(tensor: Tensor) -> str | None:
    """Why a tensor is not the numbers in its file: checked before anything copies it."""
    if tensor.layout is not torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantised"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device.type}, without numbers"
    wanted, stored = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if wanted > stored:
        return f"expanded: {wanted:,} bytes made of {stored:,}"
    return None
