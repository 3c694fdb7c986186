"""Rows about the machine: found, or with a cure."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from launch.diagnosis import environment
from launch.diagnosis.environment import (
    check_clock,
    check_environment,
    check_space,
    check_speed,
    check_threads,
    check_version,
    check_writing,
    version_of,
)


def test_this_machine_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "PROBE_BYTES", 2**20)
    checks = check_environment(tmp_path / "not" / "yet", needed=1000)
    assert {check.state for check in checks} <= {"ok", "warn"}
    assert len({check.name for check in checks}) == len(checks) == 8
    assert not any(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize(("free", "state"), [(2000, "ok"), (1200, "warn"), (999, "fail")])
def test_free_space(tmp_path, monkeypatch, free, state):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(9999, 0, free))
    check = check_space(tmp_path, needed=1000)
    assert check.state == state
    assert ("checkpoint.keep" in check.text) == (state == "fail")


def test_a_folder_that_cannot_be_written(tmp_path):
    (check,) = check_writing(tmp_path / "nowhere")
    assert check.state == "fail" and "set run_dir elsewhere" in check.text


def test_slow_disks_and_wrong_clocks_are_worth_a_word():
    assert check_speed(1e9).state == "ok" and check_speed(1e7).state == "warn"
    assert check_clock(0.01).state == "ok"
    assert check_clock(-60).state == "warn" and "-60.0 s" in check_clock(-60).text


def test_more_threads_than_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert check_threads().state == "warn"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert check_threads().state == "ok"


@pytest.mark.parametrize(
    ("version", "state", "text"),
    [
        ("0.19.0", "ok", "0.19.0"),
        ("0.18.9", "fail", "0.18.9: update to 0.19 or later"),
        ("not installed", "fail", "not installed: pip install deepspeed>=0.19"),
    ],
)
def test_a_library_is_there_and_new_enough(monkeypatch, version, state, text):
    monkeypatch.setattr(environment, "package_version", lambda name: version)
    check = check_version("deepspeed", (0, 19))
    assert (check.name, check.state, check.text) == ("deepspeed", state, text)


def test_versions_are_read():
    assert version_of("2.13.0+cpu") == (2, 13)
    assert version_of("0.19.8") == (0, 19)
