"""Which code this is."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRETRAINING = ("configs", "tokenizer", "pretrain")
"""packages whose code decides what a pretraining run finds"""
FINETUNING = (*PRETRAINING, "finetune")
PACKAGES = (*FINETUNING, "launch")
VERSION_FILE = ".version"
"""in a job's copy of the tree, which has no repository: what `code_version` said of the original"""


def code_version() -> str:
    """Commit of the source tree, with a mark for uncommitted changes; else the package version."""
    if (ROOT / VERSION_FILE).is_file():
        return (ROOT / VERSION_FILE).read_text(encoding="utf-8").strip()
    if not (ROOT / ".git").exists():
        return f"version {package_version('masklab')}"
    # GIT_DIR and its like, which git sets for its hooks, would name another repository.
    here = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"version {package_version('masklab')}"
    return done.stdout.strip()


def source_fingerprint(packages: Iterable[str] = PRETRAINING) -> str:
    """16 hexadecimal digits for the Python files of these packages.

    A commit changes with every word of the README; this changes with the code alone.
    """
    digest = hashlib.sha256()
    for path in sorted(path for name in packages for path in (ROOT / name).rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def package_version(package: str) -> str:
    """The version that is installed here."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
