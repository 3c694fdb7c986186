"""Files that are either whole or absent, on a full disk too."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.files import sha256_file, write_text, written_aside

ROOT = Path(__file__).resolve().parents[3]


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


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
from configs.errors import InputError
from configs.files import written_aside
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
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert tree(tmp_path) == {"file": "old"}


def test_sha256_of_a_large_file(tmp_path):
    content = os.urandom(3 * 2**20 + 5)
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
