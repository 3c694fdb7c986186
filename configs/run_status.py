"""What programs and people ask a run folder first: the word in `status`, and how it came about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import write_text
from configs.json_files import read_json
from configs.run_lock import require_ours


def write_status(run_dir: Path, status: str) -> None:
    """Replace the word: pending, running, completed, preempted, interrupted, out-of-memory,
    failed.

    Raises:
        RunError: the folder is that of this process's run, which has lost it.
    """
    require_ours(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "status", f"{status}\n")


def read_status(run_dir: Path) -> str | None:
    """The word, or None where there is none."""
    path = run_dir / "status"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def recorded_precision(run_dir: Path) -> str | None:
    """What `engine.precision=auto` became in the run; None where nothing tells."""
    found = read_environment(run_dir).get("precision")
    return found if found in ("fp32", "bf16") else None


def read_environment(run_dir: Path) -> dict[str, Any]:
    """What environment.json says; empty where it is not there or damaged."""
    try:
        return read_json(run_dir / "environment.json")
    except InputError:
        return {}
