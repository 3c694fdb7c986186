"""The code of a job, as it was when the job was submitted."""

from __future__ import annotations

import shutil
from pathlib import Path

from configs.system.files import written_aside
from configs.system.version import ROOT, VERSION_FILE, code_version

PACKAGES = ("configs", "tokenizer", "pretrain", "finetune", "launch")


def take_snapshot(folder: Path) -> None:
    """Copy the packages into `folder`, in place of an earlier copy, with their version.

    A job may wait for a week, or be requeued after one. It then runs the code that was submitted,
    uncommitted changes among it.
    """
    with written_aside(folder) as aside:
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package, aside / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        (aside / VERSION_FILE).write_text(f"{code_version()}\n", encoding="utf-8")
