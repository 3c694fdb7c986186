"""A disk of a few megabytes that can be filled, for tests of what a full one does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / ".ballast"

    def leave(self, size: int) -> None:
        """Fill the disk but for `size` bytes, to a page."""
        self.empty()
        room = shutil.disk_usage(self.folder).free - size
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(room, 1))

    def empty(self) -> None:
        """Take what fills it away again."""
        self._ballast.unlink(missing_ok=True)

    def wipe(self) -> None:
        """Remove everything on it."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    @property
    def used(self) -> int:
        """Bytes."""
        return shutil.disk_usage(self.folder).used


@contextmanager
def small_disk(folder: Path, megabytes: int = 16) -> Iterator[SmallDisk]:
    """A disk mounted at `folder`; skips the test where nobody may mount one."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}M", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs the rights of root")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
