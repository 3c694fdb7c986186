"""The status word on a full disk, and what a power cut leaves of it."""

from __future__ import annotations

import pytest

from configs.errors import DiskError
from configs.system.run_folder import RunFolder


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff\xfe", b"runni", b"failed\n\0\0"])
def test_a_word_that_is_none_is_none(tmp_path, content):
    (tmp_path / "status").write_bytes(content)
    assert RunFolder(tmp_path).read_status() is None
    RunFolder(tmp_path).write_status("running")
    assert RunFolder(tmp_path).read_status() == "running"


def test_on_a_full_disk_the_word_changes_where_it_lies(disk):
    RunFolder(disk.folder).write_status("running")
    disk.leave(0)
    RunFolder(disk.folder).write_status("out-of-memory")
    assert RunFolder(disk.folder).read_status() == "out-of-memory"
    RunFolder(disk.folder).write_status("failed")
    assert (disk.folder / "status").read_text() == "failed\n"


def test_a_word_that_cannot_be_written_hides_nothing(disk, console):
    disk.leave(0)
    with pytest.raises(DiskError, match="status: the disk is full"):
        RunFolder(disk.folder).write_status("running")
    RunFolder(disk.folder).settle_status("failed")
    assert "the status 'failed' could not be written" in console.readouterr().err
    assert RunFolder(disk.folder).read_status() is None


@pytest.mark.parametrize("content", ["", "{", '{"starts": 3}', '{"starts": [1, null]}', "\0\0"])
def test_starts_that_a_power_cut_tore_are_forgotten(tmp_path, content):
    (tmp_path / "environment.json").write_text(content)
    assert RunFolder(tmp_path).earlier_starts() == []
