"""Tensors on disk."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from configs.errors import InputError
from configs.system.files import check_regular


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; `InputError` where it is damaged."""
    check_regular(path)
    try:
        return load_file(path)
    except Exception as error:  # whatever the library meets in bytes that are no tensors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: damaged ({reason}): restore or remove it") from error


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
    """Write a safetensors file that transformers reads too.

    Raises:
        OSError: as for any other file; the library's own error hides the number.
    """
    try:
        save_file(tensors, path, metadata={"format": "pt"})
        # The library lets nobody but the owner read; teams share models.
        path.chmod(0o644)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, str(error)) from error
