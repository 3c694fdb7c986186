"""The pages keep their word: every command on them is understood, and the main one trains."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Command, deepspeed
from tests.pages import PAGES, all_commands, commands


def test_the_two_commands_come_first():
    assert commands(PAGES[0])[:2] == ["make pretrain", "make test"]


@pytest.mark.parametrize("command", [c for c in all_commands() if c.startswith("make")])
def test_make_target_exists(command):
    done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", [c for c in all_commands() if "launch/" in c and ".py" in c])
def test_command_is_understood(command):
    """Run as written, but only as far as its resolved configuration or its help."""
    words = shlex.split(command)
    place = next(i for i, word in enumerate(words) if word.endswith(".py"))
    script, *arguments = words[place:]
    if "--help" not in arguments:
        arguments.append("--print-config" if "--config" in arguments else "--help")
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_command_is_of_a_kind_that_is_checked():
    """What is none of ours is named here, so that a new kind of command gets its check."""
    others = [c for c in all_commands() if not c.startswith("make") and "launch/" not in c]
    assert all(
        c.startswith(("pip ", "pre-commit ", "python -m configs.", "sha256sum ")) for c in others
    ), others


@pytest.mark.distributed
def test_the_main_command_as_written(tmp_path):
    """The default job on the embedded text, cut to a few steps; the rest is as it ships."""
    overrides = ("schedule.max_steps=3", "log_every_steps=1", "evaluation.sequences=32")
    done = Command(
        "pretrain.py",
        "--config",
        "roberta_small.yaml",
        f"data.cache={tmp_path / 'cache'}",
        *overrides,
        cwd=tmp_path,
        launcher=deepspeed(2),
    ).finish(timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/roberta_small/export/model.safetensors").is_file()
