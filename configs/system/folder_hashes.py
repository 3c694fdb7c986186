"""The sha256 of each file of a model's folder, beside them, so that damage is noticed.

The file is the one of the program `sha256sum`, which checks a folder without us:

    sha256sum --check SHA256SUMS

Tensors whose bits have flipped load without a word, and so do a vocabulary's: no reader could tell.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from configs.errors import InputError
from configs.system.files import find_file, sha256_file
from configs.system.run_names import HASHES

LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
"""a hash and, after a mark for text or binary, a name"""


def write_hashes(folder: Path) -> None:
    """Write `SHA256SUMS` of all files that the folder holds, those of folders in it too."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / HASHES).write_text("".join(lines), encoding="utf-8")


def check_hashes(folder: Path) -> None:
    """Compare the files with `SHA256SUMS`; where there is none, as in older folders, nothing is.

    Files that it does not name are free to lie there: a README, a result.

    Raises:
        InputError: a file is missing or has another content, or `SHA256SUMS` itself is damaged.
    """
    sums = find_file(folder, HASHES)
    if sums is None:
        return
    cure = f"restore it, make the folder anew, or remove {HASHES} if the change is your own"
    for number, line in enumerate(sums.read_bytes().decode(errors="replace").splitlines(), 1):
        match = LINE.fullmatch(line)
        if match is None or not _is_inside(match[2]):
            raise InputError(f"{sums}: damaged (line {number} is no hash and name): {cure}")
        path = find_file(folder, match[2])
        if path is None:
            raise InputError(f"{folder / match[2]}: missing, though {HASHES} names it: {cure}")
        if sha256_file(path) != match[1]:
            raise InputError(f"{path}: damaged (not the sha256 that {HASHES} has of it): {cure}")


def _is_inside(name: str) -> bool:
    """Whether a name leads nowhere but into the folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name
