"""The status word on a full disk, and what a power cut leaves of it."""

from __future__ import annotations

import pytest

from configs.errors import DiskError
from configs.system.run_status import earlier_starts, read_status, settle_status, write_status


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff\xfe", b"runni", b"failed\n\0\0"])
def test_a_word_that_is_none_is_none(tmp_path, content):
    (tmp_path / "status").write_bytes(content)
    assert read_status(tmp_path) is None
    write_status(tmp_path, "running")
    assert read_status(tmp_path) == "running"


def test_on_a_full_disk_the_word_changes_where_it_lies(disk):
    write_status(disk.folder, "running")
    disk.leave(0)
    write_status(disk.folder, "out-of-memory")
    assert read_status(disk.folder) == "out-of-memory"
    write_status(disk.folder, "failed")
    assert (disk.folder / "status").read_text() == "failed\n"


def test_a_word_that_cannot_be_written_hides_nothing(disk, console):
    disk.leave(0)
    with pytest.raises(DiskError, match="status: the disk is full"):
        write_status(disk.folder, "running")
    settle_status(disk.folder, "failed")
    assert "the status 'failed' could not be written" in console.readouterr().err
    assert read_status(disk.folder) is None


@pytest.mark.parametrize("content", ["", "{", '{"starts": 3}', '{"starts": [1, null]}', "\0\0"])
def test_starts_that_a_power_cut_tore_are_forgotten(tmp_path, content):
    (tmp_path / "environment.json").write_text(content)
    assert earlier_starts(tmp_path) == []
