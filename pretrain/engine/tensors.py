"""Tensors on disk."""

from __future__ import annotations

import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


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
