"""Old checkpoints go, links to them alone, and none that stays ends a run."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from pretrain.run.checkpoint_folder import list_checkpoints, prune


def make(folder: Path, *steps: int) -> list[Path]:
    """Folders like those of checkpoints."""
    paths = [folder / f"step-{step:08d}" for step in steps]
    for path in paths:
        path.mkdir(parents=True)
        (path / "complete").write_text("whole")
    return paths


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path):
    (archived,) = make(tmp_path / "archive", 1)
    folder = tmp_path / "run" / "checkpoints"
    make(folder, 2, 3)
    (folder / "step-00000001").symlink_to(archived)
    (folder / "step-00000000").symlink_to(tmp_path / "nowhere")
    prune(folder, step=3, keep=2)
    assert sorted(os.listdir(folder)) == ["step-00000002", "step-00000003"]
    assert (archived / "complete").read_text() == "whole"


def test_the_folder_itself_may_be_a_link_to_another_disk(tmp_path):
    make(tmp_path / "scratch", 1, 2, 3)
    (tmp_path / "checkpoints").symlink_to(tmp_path / "scratch")
    prune(tmp_path / "checkpoints", step=3, keep=1)
    assert os.listdir(tmp_path / "scratch") == ["step-00000003"]


def test_what_cannot_be_removed_is_told_once_and_is_no_checkpoint(tmp_path, monkeypatch, console):
    make(tmp_path, 1, 2, 3)

    def busy(path: Path, onerror=None) -> None:
        onerror(os.unlink, f"{path}/.nfs01", (OSError, OSError(errno.EBUSY, "busy"), None))

    monkeypatch.setattr(shutil, "rmtree", busy)
    prune(tmp_path, step=3, keep=2)
    prune(tmp_path, step=3, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    told = console.readouterr().err
    assert told.count(".nfs01 could not be removed (busy): it stays") == 1


def test_a_folder_whose_names_cannot_change_keeps_them_all(tmp_path, monkeypatch, console):
    make(tmp_path, 1, 2)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("rename", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, refuse)
    prune(tmp_path, step=2, keep=1)
    assert len(list_checkpoints(tmp_path)) == 2
    assert "Permission denied" in console.readouterr().err


def test_later_checkpoints_are_a_future_that_was_given_up(tmp_path):
    """A run that resumed at step 4, because step 6 was damaged, leaves none of step 6 behind."""
    make(tmp_path, 2, 4, 6)
    prune(tmp_path, step=4, keep=2)
    assert sorted(os.listdir(tmp_path)) == ["step-00000002", "step-00000004"]
