"""Rows about the machine: found, or with a cure."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from launch.diagnosis import environment
from launch.diagnosis.environment import (
    check_environment,
    check_space,
    check_threads,
    check_writing,
    clock_row,
    speed_row,
    version_of,
)


def test_this_machine_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "PROBE_BYTES", 2**20)
    rows = check_environment(tmp_path / "not" / "yet", needed=1000)
    assert {row.state for row in rows} <= {"ok", "warn"}
    assert len({row.name for row in rows}) == len(rows) == 8
    assert not any(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize(("free", "state"), [(2000, "ok"), (1200, "warn"), (999, "fail")])
def test_free_space(tmp_path, monkeypatch, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(9999, 0, free))
    row = check_space(tmp_path, needed=1000)
    assert row.state == state
    assert ("checkpoint.keep" in row.text) == (state == "fail")


def test_a_folder_that_cannot_be_written(tmp_path):
    (row,) = check_writing(tmp_path / "nowhere")
    assert row.state == "fail" and "set run_dir elsewhere" in row.text


def test_slow_disks_and_wrong_clocks_are_worth_a_word():
    assert speed_row(1e9).state == "ok" and speed_row(1e7).state == "warn"
    assert clock_row(0.01).state == "ok"
    assert clock_row(-60).state == "warn" and "-60.0 s" in clock_row(-60).text


def test_more_threads_than_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert check_threads().state == "warn"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert check_threads().state == "ok"


def test_versions_are_read():
    assert version_of("2.13.0+cpu") == (2, 13)
    assert version_of("0.19.8") == (0, 19)
