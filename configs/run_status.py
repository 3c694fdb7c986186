"""The one word in `run_dir/status`: what programs and people ask a run folder first."""

from __future__ import annotations

from pathlib import Path

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
