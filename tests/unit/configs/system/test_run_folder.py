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


def test_metrics_are_read_as_written_and_forgotten_after_a_step(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() == []
    records = [{"kind": "train", "step": step, "loss": 0.5} for step in (1, 2, 3)]
    folder.write_metrics(records)
    assert folder.read_metrics() == records
    folder.drop_metrics_after(2)
    assert folder.read_metrics() == records[:2]
    folder.drop_metrics_after(0)
    assert folder.read_metrics() == [] and folder.metrics.is_file()


def test_a_run_asks_to_be_queued_again_with_its_step_and_why(tmp_path):
    RunFolder(tmp_path).write_requeue(7, "SIGTERM")
    assert (tmp_path / "REQUEUE").read_text() == "7 SIGTERM\n"


def test_the_newest_step_is_that_of_the_last_finished_name(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.newest_step() == 0
    for name in ("step-00000009", "step-00000010", ".step-00000011.new", "step-x", "best"):
        (folder.checkpoints / name).mkdir(parents=True)
    assert folder.newest_step() == 10


def test_trials_with_a_result_are_finished(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.finished_trials() == 0
    for name in ("seed=0", "seed=1"):
        folder.trial(name).path.mkdir(parents=True)
    folder.trial("seed=1").result.write_text("{}")
    assert folder.finished_trials() == 1
    assert folder.trial("seed=1").result == tmp_path / "trials" / "seed=1" / "result.json"


def test_the_precision_of_a_run_is_one_that_there_is(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.recorded_precision() is None
    for precision, known in (("bf16", "bf16"), ("tf32", "tf32"), ("fp64", None), (3, None)):
        folder.write_environment({"precision": precision})
        assert folder.recorded_precision() == known


def test_a_run_that_tells_nothing_of_compiling_is_known_to_be_neither(tmp_path):
    folder = RunFolder(tmp_path)
    for environment, known in (({}, None), ({"compile": False}, False), ({"compile": "yes"}, None)):
        folder.write_environment(environment)
        assert folder.recorded_compile() is known
