"""What whole runs, and answers, are judged by; stand-ins take the place of the commands."""

from __future__ import annotations

import json
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
import torch

from configs.loader import load_config
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from launch.selfchecks import finetuning, runs
from launch.selfchecks.bench import Bench


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, 60.0)


def write_run(bench: Bench, steps: list[int], status: str = "completed") -> None:
    run = RunFolder(bench.folder / runs.RUN)
    (run.checkpoints / "step-00000002").mkdir(parents=True)
    run.export.mkdir()
    (run.export / "model.safetensors").touch()
    lines = [json.dumps({"kind": "train", "step": step}) + "\n" for step in steps]
    run.metrics.write_text("".join(lines))
    run.status.write_text(f"{status}\n")


@pytest.mark.parametrize(
    ("steps", "status", "code", "state"),
    [
        ([1, 2, 3, 4], "completed", 0, "ok"),
        ([1, 2, 4], "completed", 0, "FAILED"),
        ([1, 2, 2, 3, 4], "completed", 0, "FAILED"),
        ([1, 2, 3, 4], "running", 0, "FAILED"),
        ([1, 2, 3, 4], "completed", 1, "FAILED"),
    ],
)
def test_a_resumed_run_must_take_every_step_once(bench, steps, status, code, state, monkeypatch):
    monkeypatch.setattr(runs, "STEPS", 4)
    monkeypatch.setattr(runs, "started", lambda *_: CompletedProcess([], code, "", "oh\n"))
    write_run(bench, steps, status)
    found = runs.resumes(bench, bench.folder / "tiny.yaml", [])
    assert found.state == state
    assert ("exit code 1: oh" in found.text) == bool(code)


ROWS = [("open path", "file"), ("while next", "loop"), ("sum add", "number")]


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (["file", "loop", "number"], "ok"),
        (["file", "file", "file"], "FAILED"),
        (["file", "loop"], "FAILED"),
    ],
)
def test_answers_must_be_there_and_mostly_right(bench, given, state, monkeypatch):
    def predict(*_):
        lines = [f"{number},{answer}\n" for number, answer in enumerate(given)]
        (bench.folder / "answers.csv").write_text("".join(["id,label\n", *lines]))
        return CompletedProcess([], 0, "", "")

    monkeypatch.setattr(finetuning, "started", predict)
    assert finetuning.answers(bench, ROWS).state == state


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_gpu_is_asked_for_more_than_it_may_hold(bench, device, monkeypatch):
    asked = []

    def pretrain(bench, script, option, config, *words):
        asked.extend(words)
        return CompletedProcess([], 0, "batch.micro_sequences=auto: a rank holds 64\n", "")

    monkeypatch.setattr(runs, "started", pretrain)
    bench.device = torch.device(device)
    config = runs.write_config(bench)
    assert runs.fits(bench, config).state == "ok"
    resolved = load_config(PretrainConfig, str(config), asked)
    assert resolved.batch.micro_sequences == "auto"
    assert resolved.batch.sequences * resolved.max_length == (2**17 if device == "cuda" else 2**10)


def test_runs_learn_from_the_beginning_of_the_users_text(tmp_path, monkeypatch):
    monkeypatch.setattr("launch.selfchecks.material.MOST_CHARACTERS", 5)
    (tmp_path / "mine.txt").write_bytes(b"ab\xff\nd\n\nf")
    config = runs.write_config(Bench(tmp_path, 60.0, text=tmp_path / "mine.txt"))
    assert (tmp_path / "prose.txt").read_text() == "ab\ufffd\nd"
    assert str(tmp_path / "prose.txt") in config.read_text()


def test_a_command_that_fails_is_quoted():
    done = SimpleNamespace(returncode=2, stderr="note\nerror: no such thing\n", stdout="")
    assert runs.trouble(done) == "; exit code 2: error: no such thing"
