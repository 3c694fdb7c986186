"""Contenders take turns on one machine, each in a process of its own, so that noise meets all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter

from configs.errors import RunError
from launch.benchmarks.contenders import Round
from launch.benchmarks.setting import Setting

CONTENDERS = {
    "masklab": "contenders.Masklab",
    "Hugging Face, as shipped": "huggingface.Shipped",
    "Hugging Face, tuned": "huggingface.Tuned",
    "ModernBERT, tuned": "huggingface.ModernBert",
}
OURS = "masklab"


@dataclass
class Lane:
    """One contender's results."""

    name: str
    ready_seconds: float = 0.0
    """from the start of its process to the end of its first steps: imports, text, compilation"""
    memory: int = 0
    """bytes at the most: of the process on a CPU, of the allocator on CUDA"""
    rounds: list[Round] = field(default_factory=list)
    failure: str | None = None

    @property
    def tokens_per_second(self) -> float:
        return median(turn.tokens / turn.seconds for turn in self.rounds)

    @property
    def useful_flops(self) -> float:
        """Per second."""
        return median(turn.flops / turn.seconds for turn in self.rounds)

    @property
    def waiting(self) -> float | None:
        """Share of the time without a batch, where it is known."""
        shares = [t.waiting / t.seconds for t in self.rounds if t.waiting is not None]
        return median(shares) if shares else None


@dataclass
class Race:
    """A setting, the machine's peak in it, and every contender's results; ours first."""

    setting: Setting
    peak_flops: float
    lanes: list[Lane]

    def ratio(self, other: Lane) -> float:
        """How many times as fast ours is, the median over rounds, in which both met one noise."""
        ours = self.lanes[0].rounds
        return median(
            (mine.tokens / mine.seconds) / (theirs.tokens / theirs.seconds)
            for mine, theirs in zip(ours, other.rounds)
        )

    def as_json(self) -> dict:
        """For programs."""
        lanes = [
            asdict(lane) | {"ratio": None if lane.failure else self.ratio(lane)}
            for lane in self.lanes
        ]
        setting = asdict(self.setting) | {"title": self.setting.title}
        return {"setting": setting, "peak_flops": self.peak_flops, "lanes": lanes}


def race(
    setting: Setting,
    names: Sequence[str],
    rounds: int,
    seconds: float,
    traces: Path | None = None,
) -> Race:
    """Let the contenders take turns of about `seconds`, `rounds` times; the peak is measured
    between them. `traces` is a folder for a profile of each."""
    import torch

    from pretrain.model.flops import matmul_peak

    setting.config(Path())  # a wrong field is told here, not by every process
    peak = partial(matmul_peak, torch.device(setting.device), setting.precision, 1.0)
    peaks = [peak()]
    with ExitStack() as stack:
        runners = []
        for name in names:
            runners.append(stack.enter_context(running(name, setting)))
            _require_fit(runners[0].lane)
        for _ in range(rounds):
            for runner in runners:
                runner.turn(seconds)
            peaks.append(peak())
        for runner in runners if traces else []:
            runner.trace(traces / f"{setting.name} {runner.lane.name}.json")
        lanes = [runner.finish() for runner in runners]
    _require_fit(lanes[0])
    return Race(setting, highest(peaks, lanes), lanes)


def highest(peaks: list[float], lanes: list[Lane]) -> float:
    """Of the peaks, each as low as other work on the machine made it; none is below a lane."""
    return max(*peaks, *(lane.useful_flops for lane in lanes if not lane.failure))


def _require_fit(ours: Lane) -> None:
    """Raise `RunError` where there is nobody to compare the others with."""
    if ours.failure:
        raise RunError(f"{ours.name}: {ours.failure}")


class Runner:
    """A contender's process, seen from here."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.lane, self.connection = Lane(name), connection
        started = perf_counter()
        self._receive()
        self.lane.ready_seconds = perf_counter() - started

    def turn(self, seconds: float) -> None:
        """One round; a contender that has failed sits it out."""
        if self.lane.failure is None:
            self.connection.send(seconds)
            found = self._receive()
            if found is not None:
                self.lane.rounds.append(found)

    def trace(self, path: Path) -> None:
        """A profile of two steps, which count for nothing."""
        if self.lane.failure is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection.send(path.absolute())
            self._receive()

    def finish(self) -> Lane:
        """Its results."""
        if self.lane.failure is None:
            self.connection.send(None)
            self.lane.memory = self._receive() or 0
        return self.lane

    def _receive(self) -> Round | int | None:
        """What the process sends; None where it has failed, or has nothing to say."""
        try:
            found = self.connection.recv()
        except EOFError:
            found = "its process died"
        if isinstance(found, str):
            self.lane.failure = found
            return None
        return found


@contextmanager
def running(name: str, setting: Setting) -> Iterator[Runner]:
    """A contender in a process of its own, warmed up; it ends with the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(name, setting, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Runner(name, ours)
    finally:
        process.kill()
        process.join()


def serve(name: str, setting: Setting, connection: Connection) -> None:
    """In the process: build, take the first steps, then a turn for each number that comes, and a
    trace for each path."""
    with tempfile.TemporaryDirectory() as folder, quiet(Path(folder)):
        try:
            module, _, kind = CONTENDERS[name].partition(".")
            build = getattr(import_module(f"launch.benchmarks.{module}"), kind)
            contender = build(setting, Path(folder))
            contender.run(0.0)
            connection.send(0)
            while (asked := connection.recv()) is not None:
                if isinstance(asked, Path):
                    connection.send(contender.trace(asked))
                else:
                    connection.send(contender.run(asked))
            connection.send(peak_memory(setting.device))
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            traceback.print_exc()
            connection.send(f"{type(error).__name__}: {lines[0][:120]}")


def peak_memory(device: str) -> int:
    """Bytes that this process has used at the most."""
    import torch

    from pretrain.engine.memory import peak_bytes

    return peak_bytes(torch.device(device))


@contextmanager
def quiet(folder: Path) -> Iterator[None]:
    """Work in `folder`; what is printed, libraries' warnings included, goes to a file there."""
    os.chdir(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with (folder / "output").open("w", encoding="utf-8") as file:
        sys.stdout.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield
