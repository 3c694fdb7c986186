"""Which checkpoints a run's folder holds, and which of them stay."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from configs.system.aside import remove
from configs.system.notes import warn_once
from configs.system.run_names import STEP


def prune(folder: Path, step: int, keep: int, keep_every: int | None = None) -> None:
    """Drop what is older than the last `keep`, later than `step`, or torn by a kill.

    Those of every `keep_every`-th step stay. Later ones exist where a run was resumed from an
    earlier checkpoint: they belong to a future that is abandoned.
    """
    newest = checkpoint_in(folder, step)
    saved = list_checkpoints(folder)
    past = [path for path in saved if path <= newest]
    old = [path for path in past[:-keep] if not keep_every or step_of(path) % keep_every]
    stale = [path for path in saved if path > newest] + old + list(folder.glob(f".{STEP}*"))
    for path in stale:
        _drop(path)


def _drop(path: Path) -> None:
    """Remove a checkpoint, or tell once that it cannot be: by no means the end of the run.

    It is hidden first: half of one, or one whose files another machine still reads, is none.
    """
    hidden = path if path.name.startswith(".") else path.with_name(f".{path.name}.old")
    with suppress(OSError):
        path.rename(hidden)
        path = hidden
    if stayed := remove(path):
        warn_once(f"{stayed}: it stays")


def checkpoint_in(folder: Path, step: int) -> Path:
    """The checkpoint after `step` steps in a folder of checkpoints."""
    return folder / f"{STEP}{step:08d}"


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named by."""
    return int(path.name.removeprefix(STEP))


def list_checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if re.fullmatch(rf"{STEP}\d{{8}}", p.name))
