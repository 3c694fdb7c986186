"""Files that are either whole or absent, on a full disk too."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import DiskError, InputError
from configs.system.aside import remove
from configs.system.files import (
    append_text,
    disk_trouble,
    overwrite,
    sha256_file,
    write_text,
    written_aside,
    written_file,
)
from tests.helpers import tree

ROOT = Path(__file__).resolve().parents[4]


def test_the_folder_appears_whole(tmp_path):
    with written_aside(tmp_path / "deep" / "new") as aside:
        (aside / "sub").mkdir()
        (aside / "sub" / "file").write_text("content")
        assert not (tmp_path / "deep" / "new").exists()
    assert tree(tmp_path) == {"deep/new/sub/file": "content"}
    assert os.listdir(tmp_path / "deep") == ["new"]


def test_a_new_folder_takes_the_place_of_the_old(tmp_path):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "old").write_text("old")
    with written_aside(tmp_path / "it") as aside:
        (aside / "new").write_text("new")
        assert (tmp_path / "it" / "old").exists()
    assert tree(tmp_path) == {"it/new": "new"}
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_what_was_there(tmp_path, failure):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "old").write_text("old")
    with pytest.raises(failure), written_aside(tmp_path / "it") as aside:
        (aside / "half").write_text("ha")
        raise failure
    assert tree(tmp_path) == {"it/old": "old"}
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_in_one_line(tmp_path, code):
    with (
        pytest.raises(InputError, match=r"it: the disk is full.*free some space") as error,
        written_aside(tmp_path / "it") as aside,
    ):
        (aside / "half").write_text("ha")
        raise OSError(code, os.strerror(code))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_while_flushing(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="the disk is full"), written_aside(tmp_path / "it"):
        pass
    assert os.listdir(tmp_path) == []


WRITE_TOO_MUCH = """
import resource, sys
from pathlib import Path
from configs.errors import DiskError, InputError
from configs.system.files import written_aside
from tests.helpers import write_store

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with written_aside(Path(sys.argv[1])) as aside:
        write_store(aside / "store", 100, train=[[[1] * 100] * 1000])
except InputError as error:
    print(error)
"""


def test_a_store_that_does_not_fit_leaves_nothing(tmp_path):
    pytest.importorskip("resource", reason="file size limits are a Unix matter")
    run = subprocess.run(
        [sys.executable, "-c", WRITE_TOO_MUCH, str(tmp_path / "it")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"{tmp_path / 'it'}: the disk is full")
    assert run.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_everything_is_flushed_before_the_rename(tmp_path, monkeypatch):
    order = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        order.append("fsync")
        fsync(descriptor)

    def note_rename(source, target) -> None:
        order.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    with written_aside(tmp_path / "it") as aside:
        (aside / "file").write_text("content")
    assert order == ["fsync", "fsync", "rename", "fsync"]


def test_write_text_replaces_at_once(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    write_text(path, "ㅋ")
    assert path.read_text(encoding="utf-8") == "ㅋ"
    assert os.listdir(tmp_path) == ["file"]


def test_write_text_that_fails_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "old")

    def refuse(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DiskError, match="file: the disk is full"):
        write_text(path, "new")
    assert tree(tmp_path) == {"file": "old"}


def test_a_link_to_a_folder_gives_way_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("kept")
    for name, target in (("it", "elsewhere"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with written_aside(tmp_path / name) as aside:
            (aside / "new").write_text("new")
    assert tree(tmp_path) == {"elsewhere/kept": "kept", "it/new": "new", "dangling/new": "new"}
    assert sorted(os.listdir(tmp_path)) == ["dangling", "elsewhere", "it"]


def test_links_are_unlinked(tmp_path):
    (tmp_path / "kept").write_text("kept")
    for name, target in (("file", "kept"), ("folder", "."), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(tmp_path / target)
        assert remove(tmp_path / name) is None
    assert remove(tmp_path / "nothing") is None
    assert tree(tmp_path) == {"kept": "kept"}


def test_what_cannot_be_removed_is_named(tmp_path, monkeypatch):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / ".nfs01").write_text("open on another machine")

    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(os, "unlink", busy)
    assert ".nfs01 could not be removed (Device or resource busy)" in remove(tmp_path / "it")


@pytest.mark.parametrize("place", ["/dev/null", "folder"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path, place):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="put a file there"):
        write_text(tmp_path / place, "text")
    assert not Path("/dev/null").is_file()


def test_a_file_that_is_not_finished_is_not_there(tmp_path):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(RuntimeError), written_file(tmp_path / "table.csv") as aside:
        aside.write_text("ne")
        raise RuntimeError
    assert tree(tmp_path) == {"table.csv": "old"}


def test_a_line_that_does_not_fit_is_not_half_there(disk):
    path = disk.folder / "metrics.jsonl"
    append_text(path, "first\n")
    disk.leave(0)
    with pytest.raises(DiskError, match=r"metrics\.jsonl: the disk is full: free some space"):
        append_text(path, "x" * 10_000 + "\n")
    assert path.read_text() == "first\n"
    disk.empty()
    append_text(path, "second\n")
    assert path.read_text() == "first\nsecond\n"


def test_a_small_file_can_change_on_a_full_disk(disk):
    path = disk.folder / "status"
    write_text(path, "running\n")
    disk.leave(0)
    with pytest.raises(DiskError):
        write_text(path, "failed\n")
    assert [p.name for p in disk.folder.iterdir() if p.name != ".ballast"] == ["status"]
    overwrite(path, "failed\n")
    assert path.read_text() == "failed\n"


def save_tensors(path: Path) -> None:
    import torch

    from pretrain.run.tensors import write_tensors

    write_tensors(path, {"weight": torch.zeros(1000, 1000)})


def save_array(path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, np.zeros(1_000_000))


def save_picture(path: Path) -> None:
    from pretrain.run.figures import new_figure, save

    figure = new_figure(9, 9)
    figure.subplots().set_title("full")
    save(figure, path)


def save_backend(path: Path) -> None:
    from tokenizers import Tokenizer, models

    vocabulary = {f"piece{number}": number for number in range(200_000)}
    Tokenizer(models.WordLevel(vocabulary, "piece0")).save(str(path))


@pytest.mark.parametrize("save", [save_tensors, save_array, save_picture, save_backend])
def test_every_library_is_understood_on_a_full_disk(disk, save):
    path = disk.folder / "file.npy"
    disk.leave(0)
    with (
        pytest.raises(DiskError, match=r"file\.npy.*: the disk is full"),
        written_file(path) as aside,
    ):
        save(aside)
    assert [p.name for p in disk.folder.iterdir()] == [".ballast"]


def test_other_errors_are_no_full_disk():
    assert disk_trouble(PermissionError(errno.EACCES, "Permission denied")) is None
    assert disk_trouble(InputError("text: No space left on device")) is None
    assert "ulimit -f" in disk_trouble(OSError(errno.EFBIG, "File too large"))
    assert "quota" in disk_trouble(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert "failed" in disk_trouble(OSError(errno.EIO, "Input/output error"))
    assert "only be read" in disk_trouble(OSError(errno.EROFS, "Read-only file system"))


def test_sha256_of_a_large_file(tmp_path):
    content = os.urandom(3 * 2**20 + 5)
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
