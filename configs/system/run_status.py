"""What programs and people ask a run folder first: the word in `status`, and how it came about."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from configs.errors import DiskError, InputError, RunError
from configs.system.files import make_folder, overwrite, write_text
from configs.system.json_files import read_json

logger = logging.getLogger(__name__)

WORDS = (
    *("pending", "running", "completed", "preempted", "interrupted", "out-of-memory"),
    "failed",
)


def write_status(run_dir: Path, status: str) -> None:
    """Replace the word by another of `WORDS`; on a full disk, where it lies.

    Raises:
        RunError: the folder is that of this process's run, which has lost it.
        DiskError: there is no room and no word yet.
    """
    make_folder(run_dir)
    path, line = run_dir / "status", f"{status}\n"
    try:
        write_text(path, line)
    except DiskError:
        try:
            overwrite(path, line)
        except FileNotFoundError:
            pass
        else:
            return
        raise


def settle_status(run_dir: Path, status: str) -> None:
    """The same at a run's end, where nothing may hide why it ends: what fails is only told."""
    try:
        write_status(run_dir, status)
    except (InputError, RunError, OSError) as error:
        logger.warning(f"the status '{status}' could not be written: {error}")


def read_status(run_dir: Path) -> str | None:
    """The word, or None where there is none, or a power cut has left something else."""
    try:
        word = (run_dir / "status").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return word if word in WORDS else None


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


def earlier_starts(run_dir: Path) -> list[dict[str, Any]]:
    """What environment.json says of the run's starts so far, those of them that are whole."""
    starts = read_environment(run_dir).get("starts")
    return (
        [start for start in starts if isinstance(start, dict)] if isinstance(starts, list) else []
    )
