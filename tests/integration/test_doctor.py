"""The commands before a job: benchmark.py and doctor.py."""

from __future__ import annotations

import json
import re

import pytest

from configs.errors import InputError
from launch import benchmark, doctor
from tests.conftest import deepspeed


def test_doctor_reports_in_words_and_in_json(launch, tiny, tmp_path):
    hardware = ["--gpus", "4", "--gpu", "a100", "--cost-per-gpu-hour", "2", "--json", "found.json"]
    done = launch("doctor.py", "--config", tiny, "--prepare", *hardware)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: ready" in done.stdout and "4 x a100" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["works"] and {check["state"] for check in found["checks"]} <= {"ok", "warn"}
    peak = found["memory"]["zero_0"]["peak"]
    assert 1e9 < peak <= sum(found["memory"]["zero_0"]["parts"].values())
    assert found["cost"] == 2 * found["gpu_hours"]


def test_doctor_says_what_cannot_work(monkeypatch, console, tiny, tmp_path):
    from launch.diagnosis import examine

    taken = examine.Check("step", "ok", "not here: a pretended group would stay with this process")
    monkeypatch.setattr(examine, "check_step", lambda config, hardware: taken)
    hardware = ["--gpus", "64", "--gpu", "h100", "--mfu", "0.4", f"run_dir={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["doctor.py", "--config", str(tiny), *hardware])
    with pytest.raises(SystemExit) as exit_code:
        doctor.main()
    assert exit_code.value.code == 2
    printed = console.readouterr().out
    assert "verdict: this cannot work: batches" in printed
    assert "too few for 64 ranks" in printed


@pytest.mark.distributed
def test_allreduce_is_measured_and_fitted(launch, tmp_path):
    sizes = ["--seconds", "0.05", "--sizes", "4", "100K", "1M", "--json", "ring.json"]
    done = launch("benchmark.py", "allreduce", "--ranks", "2", *sizes)
    assert done.returncode == 0, done.stderr
    assert "over 2 ranks, gloo" in done.stdout and "model:" in done.stdout
    found = json.loads((tmp_path / "ring.json").read_text())
    assert found["sizes"] == [4, 100_000, 1_000_000] and all(found["seconds"])
    assert found["ring"]["bandwidth"] > 0


@pytest.mark.distributed
def test_allreduce_under_the_launcher(launch):
    sizes = ["--seconds", "0.05", "--sizes", "4", "100K"]
    done = launch("benchmark.py", "allreduce", *sizes, launcher=deepspeed(2))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all-reduce over 2 ranks") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["benchmark.py", "allreduce", "--ranks", "1"], "--ranks 1: nobody to talk to"),
        (["benchmark.py", "allreduce", "--sizes", "3x"], "--sizes 3x is no size"),
        (["doctor.py", "--config", "roberta_base", "--gpus", "8"], "Add e.g. --gpu h100"),
        (["doctor.py", "--config", "roberta_base", "--gpu", "h99"], "choose from a100"),
        (["doctor.py", "--config", "roberta_base", "--mfu", "2"], "--mfu 2.0 must lie"),
        (["doctor.py", "--config", "roberta_base", "--allreduce", "no"], "--allreduce no"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_end_in_one_line(monkeypatch, command, message):
    script, *arguments = command
    monkeypatch.setattr("sys.argv", [script, *arguments])
    with pytest.raises(InputError, match=re.escape(message)) as error:
        {"benchmark.py": benchmark, "doctor.py": doctor}[script].main()
    assert "\n" not in str(error.value)
