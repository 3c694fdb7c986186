"""Contenders take turns on one machine, so that its noise meets all of them.

Each turn is a process of its own, and only one is alive: a contender has the whole device for its
micro-batches. What they start with again, text and compiled code, lies in caches on the disk.
Moving weights off the device between turns instead would leave what a process still holds, and
DeepSpeed's flat buffers do not move.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from configs.errors import RunError
from launch.benchmarks.contenders import LeftOut, Round, Setting

OURS, UNPADDED, SHIPPED = "masklab", "Hugging Face, unpadded", "Hugging Face, as shipped"
CONTENDERS = {
    OURS: "contenders.Masklab",
    UNPADDED: "huggingface_contenders.Unpadded",
    "ModernBERT, unpadded": "huggingface_contenders.ModernBert",
    "Hugging Face, padded": "huggingface_contenders.Padded",
    SHIPPED: "huggingface_contenders.Shipped",
}
"""the last two, which compute padding, are footnotes"""
OUT_OF_MEMORY = "failed: out of memory"


@dataclass
class Outcome:
    """One contender's results."""

    name: str
    ready_seconds: float = 0.0
    """from the start of its first process to the end of that one's first steps: imports, text,
    compilation"""
    memory: int = 0
    """bytes at the most: of the process on a CPU, of the allocator on CUDA"""
    rounds: list[Round] = field(default_factory=list)
    failure: str | None = None
    """why it has no figures"""
    micro_batches: int = 1
    """of a step: as few as memory allows"""

    @property
    def tokens_per_second(self) -> float:
        """Real ones, the median over rounds."""
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
class Contest:
    """A setting, the machine's peak in it, and every contender's results; ours first."""

    setting: Setting
    peak_flops: float
    outcomes: list[Outcome]

    def ratio(self, other: Outcome) -> float:
        """How many times as fast ours is: the median over rounds, whose noise hits both alike."""
        ours = self.outcomes[0].rounds
        return median(
            (mine.tokens / mine.seconds) / (theirs.tokens / theirs.seconds)
            for mine, theirs in zip(ours, other.rounds)
        )

    def table(self) -> str:
        """Every contender's figures."""
        head = f"{'':<26}{'tokens/s':>10}{'ratio':>8}{'useful GFLOP/s':>16}{'of peak':>9}"
        head += f"{'waits':>7}{'memory MB':>11}{'ready s':>9}"
        title = f"{self.setting.title}; {self.setting.precision} matmul peak "
        title += f"{self.peak_flops / 1e9:,.0f} GFLOP/s"
        return "\n".join([title, head, *map(self._line, self.outcomes)])

    def _line(self, outcome: Outcome) -> str:
        if outcome.failure:
            return f"{outcome.name:<26}  {outcome.failure}"
        ratio = "" if outcome.name == OURS else f"{self.ratio(outcome):.2f}x"
        waits = "" if outcome.waiting is None else f"{outcome.waiting:.1%}"
        parts = outcome.micro_batches
        note = f"  in {parts} micro-batches: memory ran out" if parts > 1 else ""
        return (
            f"{outcome.name:<26}{outcome.tokens_per_second:>10,.0f}{ratio:>8}"
            f"{outcome.useful_flops / 1e9:>16,.1f}{outcome.useful_flops / self.peak_flops:>9.1%}"
            f"{waits:>7}{outcome.memory / 1e6:>11,.0f}{outcome.ready_seconds:>9.1f}{note}"
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        lanes = [
            asdict(outcome) | {"ratio": None if outcome.failure else self.ratio(outcome)}
            for outcome in self.outcomes
        ]
        setting = asdict(self.setting) | {"title": self.setting.title}
        return {"setting": setting, "peak_flops": self.peak_flops, "lanes": lanes}


def hold_contest(
    setting: Setting,
    names: Sequence[str],
    rounds: int,
    seconds: float,
    traces: Path | None = None,
) -> Contest:
    """Let the contenders take turns of about `seconds`, `rounds` times; the peak is measured
    between them. `traces` is a folder for a profile of each."""
    from pretrain.model.flops import matmul_peak

    setting.config(Path())  # a wrong field is told here, not by every process
    peak = partial(matmul_peak, torch.device(setting.device), setting.precision, 1.0)
    peaks = [peak()]
    outcomes = [Outcome(name) for name in names]
    if traces:
        traces.mkdir(parents=True, exist_ok=True)
    for number in range(rounds):
        for outcome in outcomes:
            path = traces.absolute() / f"{setting.name} {outcome.name}.json" if traces else None
            take_turn(outcome, setting, seconds, path if number == 0 else None)
            _require_fit(outcomes[0])
        peaks.append(peak())
    return Contest(setting, highest(peaks, outcomes), outcomes)


def take_turn(outcome: Outcome, setting: Setting, seconds: float, trace: Path | None) -> None:
    """One round more in a process that ends with it, and for a path a profile.

    Where memory runs out, again with twice as many micro-batches; a contender that has failed stays
    out.
    """
    turns = len(outcome.rounds) + 1
    while outcome.failure is None and len(outcome.rounds) < turns:
        cut = replace(setting, micro_batches=outcome.micro_batches)
        with running(outcome, cut) as process:
            process.turn(seconds)
            if trace:
                process.ask(trace)  # two steps, which count for nothing
            process.finish()
        if outcome.failure == OUT_OF_MEMORY and cut.micro_sequences > 1:
            outcome.failure, outcome.micro_batches = None, 2 * outcome.micro_batches


def highest(peaks: list[float], outcomes: list[Outcome]) -> float:
    """Of the peaks, each as low as other work on the machine made it; none is below a contender."""
    return max(*peaks, *(outcome.useful_flops for outcome in outcomes if not outcome.failure))


def _require_fit(ours: Outcome) -> None:
    """Raise `RunError` where there is nobody to compare the others with."""
    if ours.failure:
        raise RunError(f"{ours.name}: {ours.failure}")


class ContenderProcess:
    """A contender's process, seen from here."""

    def __init__(self, outcome: Outcome, connection: Connection) -> None:
        self.outcome, self.connection = outcome, connection
        started = perf_counter()
        self._receive()
        outcome.ready_seconds = outcome.ready_seconds or perf_counter() - started

    def ask(self, what: float | Path | None) -> Round | int | None:
        """The process's answer: a round for seconds, nothing for the path of a trace, bytes of
        memory for None, which ends it. A contender that has failed is not asked."""
        if self.outcome.failure is not None:
            return None
        self.connection.send(what)
        return self._receive()

    def turn(self, seconds: float) -> None:
        """One round."""
        result = self.ask(seconds)
        if isinstance(result, Round):
            self.outcome.rounds.append(result)

    def finish(self) -> None:
        """Let it end, and tell how much memory it took."""
        memory = self.ask(None)
        if isinstance(memory, int):
            self.outcome.memory = max(memory, self.outcome.memory)

    def _receive(self) -> Round | int | None:
        """What the process sends; None where it has failed, or has nothing to say."""
        try:
            sent: Round | int | str = self.connection.recv()
        except EOFError:
            sent = "failed: its process died"
        if isinstance(sent, str):
            self.outcome.failure = sent
            return None
        return sent


@contextmanager
def running(outcome: Outcome, setting: Setting) -> Iterator[ContenderProcess]:
    """A contender in a process of its own, warmed up; it ends with the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(outcome.name, setting, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ContenderProcess(outcome, ours)
    finally:
        process.kill()
        process.join()


def serve(name: str, setting: Setting, connection: Connection) -> None:
    """In the process: build, take the first steps, then a turn for each number that comes, and a
    trace for each path."""
    from pretrain.engine.memory import peak_bytes

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
            connection.send(peak_bytes(contender.device))
        except Exception as error:
            traceback.print_exc()
            connection.send(explained(error))


def explained(error: Exception) -> str:
    """In one line why a contender has no figures."""
    if isinstance(error, LeftOut):
        return f"left out: {error}"
    words = ("out of memory", "ALLOC_FAILED")  # CUDA's own and cuBLAS's errors are of many types
    if isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words):
        return OUT_OF_MEMORY
    lines = str(error).strip().splitlines() or [""]
    return f"failed: {type(error).__name__}: {lines[0][:120]}"


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
