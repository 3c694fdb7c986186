"""Which code this is."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION_FILE = ".version"
"""in a job's copy of the tree, which has no repository: what `code_version` said of the original"""


def code_version() -> str:
    """Commit of the source tree, with a mark for uncommitted changes; else the package version."""
    if (ROOT / VERSION_FILE).is_file():
        return (ROOT / VERSION_FILE).read_text(encoding="utf-8").strip()
    if not (ROOT / ".git").exists():
        return f"version {package_version('masklab')}"
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"version {package_version('masklab')}"
    return done.stdout.strip()


def package_version(package: str) -> str:
    """The version that is installed here."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
