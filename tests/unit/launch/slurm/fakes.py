"""Slurm's commands as scripts of a few lines: what they were asked is written down."""

from __future__ import annotations

import os
from pathlib import Path


def install(folder: Path, **scripts: str) -> str:
    """Executable bash scripts in `folder`; returns a PATH that begins with it."""
    folder.mkdir(exist_ok=True)
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"
