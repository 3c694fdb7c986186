"""What programs and people ask a run folder first: the word in `status`, and how it came about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.files import write_text


def write_status(run_dir: Path, status: str) -> None:
    """Replace the word: pending, running, completed, preempted, interrupted, out-of-memory,
    failed."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "status", f"{status}\n")


def read_status(run_dir: Path) -> str | None:
    """The word, or None where there is none."""
    path = run_dir / "status"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def read_environment(run_dir: Path) -> dict[str, Any]:
    """What environment.json says; empty where it is not there or damaged."""
    try:
        content = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
