"""Contenders take turns, each alone in its process, with as few micro-batches as memory allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from launch.benchmark import show_one_gpu
from launch.benchmarks import contest
from launch.benchmarks.contenders import LeftOut, Round, Setting
from launch.benchmarks.contest import (
    OURS,
    OUT_OF_MEMORY,
    UNPADDED,
    ContenderProcess,
    Outcome,
    explained,
    hold_contest,
)

SETTING = Setting("small", 128, "fp32", "cpu")
MEMORY = 7


class Machine:
    """Stands for processes: each answers as `fits` says of its contender and micro-batch."""

    def __init__(self, fits: dict[str, int]) -> None:
        self.fits, self.alive, self.started = fits, 0, []

    @contextmanager
    def running(self, outcome: Outcome, setting: Setting) -> Iterator[ContenderProcess]:
        self.alive += 1
        assert self.alive == 1, "another contender holds memory"
        self.started.append((outcome.name, setting.micro_sequences))
        yield ContenderProcess(outcome, Line(setting.micro_sequences <= self.fits[outcome.name]))
        self.alive -= 1


class Line:
    """The end of a pipe to a process: it gets ready, then its first turn may be too large."""

    def __init__(self, fits: bool) -> None:
        self.fits, self.asked = fits, []

    def send(self, what: object) -> None:
        self.asked.append(what)

    def recv(self) -> object:
        if not self.asked:
            return 0
        if isinstance(self.asked[-1], float):
            return Round(100, 1e3, 1.0) if self.fits else OUT_OF_MEMORY
        return None if isinstance(self.asked[-1], Path) else MEMORY


def held(monkeypatch, rounds: int = 2, **fits: int) -> tuple[contest.Contest, Machine]:
    machine = Machine({OURS: 16, UNPADDED: 16} | fits)
    monkeypatch.setattr(contest, "running", machine.running)
    monkeypatch.setattr("pretrain.model.flops.matmul_peak", lambda *_: 1e6)
    return hold_contest(SETTING, [OURS, UNPADDED], rounds, 1.0), machine


def test_each_round_gives_each_contender_a_process_of_its_own(monkeypatch):
    result, machine = held(monkeypatch)
    assert machine.started == [(OURS, 16), (UNPADDED, 16)] * 2
    assert [len(outcome.rounds) for outcome in result.outcomes] == [2, 2]
    assert {outcome.memory for outcome in result.outcomes} == {MEMORY}


def test_where_memory_runs_out_micro_batches_are_halved_and_the_table_says_so(monkeypatch):
    result, machine = held(monkeypatch, **{UNPADDED: 5})
    halving = [(UNPADDED, 16), (UNPADDED, 8), (UNPADDED, 4)]
    assert machine.started == [(OURS, 16), *halving, (OURS, 16), (UNPADDED, 4)]
    assert [len(outcome.rounds) for outcome in result.outcomes] == [2, 2]
    ours, theirs = result.table().splitlines()[2:]
    assert "in 4 micro-batches" in theirs and "micro-batches" not in ours


def test_who_cannot_take_one_sequence_stays_out(monkeypatch):
    result, machine = held(monkeypatch, **{UNPADDED: 0})
    assert [size for name, size in machine.started if name == UNPADDED] == [16, 8, 4, 2, 1]
    assert OUT_OF_MEMORY in result.table().splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LeftOut("it has no such head"), "left out: it has no such head"),
        (torch.OutOfMemoryError("Tried to allocate 20 GiB"), OUT_OF_MEMORY),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), OUT_OF_MEMORY),
        (ValueError("no\nsecond line"), "failed: ValueError: no"),
        (KeyError(), "failed: KeyError: "),
    ],
)
def test_why_a_contender_has_no_figures(error, said):
    assert explained(error) == said


@pytest.mark.parametrize(("before", "after"), [(None, "0"), ("2,3", "2"), ("GPU-5b", "GPU-5b")])
def test_one_gpu_is_seen(before, after, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before or "")
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    show_one_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == after
