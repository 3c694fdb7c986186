"""`launch/selfcheck.py`: real parts, an interrupt, and what it refuses."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.conftest import Command
from tests.forked import run_script


def read(folder) -> dict:
    return json.loads((folder / "runs" / "selfcheck" / "selfcheck.json").read_text())


def test_attention_and_loss_are_right_here(tmp_path):
    done = run_script("selfcheck.py", "--only", "loss", "attention", "--minutes", 4, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["part", "check", "figures"]
    assert lines[0].startswith("attention") and "nothing failed" in lines[-2]
    result = read(tmp_path)
    assert result["asked"] == ["attention", "loss"] and not result["failed"]
    states = {(p["name"], f["state"]) for p in result["parts"] for f in p["findings"]}
    assert states >= {("attention", "ok"), ("loss", "ok")}


def test_an_interrupt_ends_it_and_keeps_what_is_measured(tmp_path):
    command = Command("selfcheck.py", "--only", "attention", "loss", cwd=tmp_path)
    running = tmp_path / "runs" / "selfcheck" / "loss" / "output.txt"
    end = time.monotonic() + 120
    while not running.exists() and time.monotonic() < end:
        time.sleep(0.1)
    command.process.send_signal(signal.SIGINT)
    done = command.finish(timeout=30)
    assert done.returncode == 130, done.stdout + done.stderr
    attention, loss = read(tmp_path)["parts"]
    assert {f["state"] for f in attention["findings"]} == {"ok", "skipped"}
    assert loss["findings"][-1]["text"].startswith("interrupted")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "lost"], "--only lost: no part is called so: machine, attention"),
        (["--minutes", "0"], "--minutes 0 must be above 0"),
        (["--minutes", "nan"], "--minutes nan must be above 0"),
        (["--text", "none.txt"], "--text none.txt: no such file"),
    ],
)
def test_what_cannot_be_checked_is_refused(words, said, tmp_path):
    done = run_script("selfcheck.py", *words, cwd=tmp_path)
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


def test_the_parts_are_listed(tmp_path):
    done = run_script("selfcheck.py", "--list", cwd=tmp_path)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["machine", "attention"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts", [["machine", "steps", "saving", "learning"], ["runs", "finetuning", "ranks"]]
)
def test_the_other_parts_pass_here(parts, tmp_path):
    done = Command("selfcheck.py", "--only", *parts, cwd=tmp_path).finish(timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = {p["name"] for p in read(tmp_path)["parts"] if p["findings"][-1]["state"] == "ok"}
    assert passed == set(parts)
