"""One start of a command: what can be seen of it from outside, and how it is killed."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from configs.system.run_folder import RunFolder
from pretrain.ranks.local import free_port
from tests.conftest import OF_A_RANK

MARK = "MASKLAB_TEST_START"
"""environment variable by which all processes of a start are known, whatever group they are in"""
PATIENCE = 300
"""seconds that a start may take to its end"""


class Start:
    """A command that was typed in `work`, its processes and its traces."""

    def __init__(self, words: list[str], work: Path, output: Path) -> None:
        self.is_of_ranks = Path(words[0]).name == "deepspeed"
        if self.is_of_ranks:  # lives that run side by side would meet at the launcher's own port
            words = [words[0], "--master_port", str(free_port()), *words[1:]]
        self.words, self.work, self.output, self.token = words, work, output, uuid.uuid4().hex
        self.before = set(work.rglob(".*"))
        """what earlier starts left half-written"""
        environment = {k: v for k, v in os.environ.items() if k not in OF_A_RANK}
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                words,
                cwd=work,
                env={**environment, MARK: self.token},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was typed."""
        return time.monotonic() - self.began

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def said(self, text: str = "") -> bool:
        """Whether it has printed this; anything at all, by default."""
        content = self.output.read_text(encoding="utf-8", errors="replace")
        return text in content if text else bool(content)

    def has(self, pattern: str) -> bool:
        """Whether there is such a file or folder in `work`."""
        return next(self.work.glob(pattern), None) is not None

    def is_writing(self, pattern: str) -> bool:
        """Whether something half-written of this pattern is there, of this start."""
        return any(path not in self.before for path in self.work.glob(pattern))

    def status(self, folder: str) -> str:
        """The word in `status`; empty where there is none."""
        path = self.work / folder / "status"
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    def last(self, folder: str) -> tuple[str, int]:
        """(kind, step) of the last record in metrics.jsonl."""
        records = RunFolder(self.work / folder).read_metrics()
        return (records[-1]["kind"], records[-1]["step"]) if records else ("", 0)

    def has_stepped(self, trial: str = "") -> bool:
        """Whether this start has told of a step, of a trial where one is named."""
        content = self.output.read_text(encoding="utf-8", errors="replace")
        return re.search(rf"^{trial} *step +\d+", content, re.MULTILINE) is not None

    def has_libraries(self) -> bool:
        """Whether PyTorch is loaded, in all ranks."""
        ranks = self.processes(".py") if self.is_of_ranks else [self.process.pid]
        ranks = [p for p in ranks if "--local_rank" in command_of(p)] if self.is_of_ranks else ranks
        return bool(ranks) and all("libtorch_cpu" in maps_of(pid) for pid in ranks)

    def processes(self, word: str = "") -> list[int]:
        """Ids of its living processes; of those whose command names `word`."""
        mark = f"{MARK}={self.token}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                is_own = mark in (path / "environ").read_bytes().split(b"\0")
                if is_own and "Z" not in state_of(int(path.name)):
                    found.append(int(path.name))
            except OSError:  # it has just ended
                continue
        return [pid for pid in found if not word or word in command_of(pid)]

    def signal(self, processes: list[int], number: int) -> None:
        """Send a signal to some of its processes."""
        for pid in processes:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def victims(self, whom: str) -> list[int]:
        """Processes: `all`, the `first` alone, or the `children` of a driver alone."""
        if whom == "first":
            return [self.process.pid]
        everyone = self.processes()
        return everyone if whom == "all" else self.processes("job.yaml")[:1]

    def kill_if(self, is_now: Callable[[Start], bool], whom: str) -> bool:
        """Freeze it, and kill it if what was to be is still so; else let it go on."""
        everyone: list[int] = []
        while set(more := self.processes()) - set(everyone):
            everyone = more
            self.signal(everyone, signal.SIGSTOP)
        is_hit = self.is_alive and is_now(self)
        victims = self.victims(whom) if is_hit else []
        is_hit = bool(victims)
        self.signal(victims, signal.SIGKILL)
        while whom == "all" and (left := self.processes()) and is_hit:
            self.signal(left, signal.SIGKILL)
            time.sleep(0.005)
        self.signal([pid for pid in everyone if pid not in victims], signal.SIGCONT)
        return is_hit

    def strike(self, is_now: Callable, span: float, whom: str, chance: random.Random) -> bool:
        """Kill it at a random moment at which `is_now`; False where it ended before."""
        while self.is_alive:
            if is_now(self):
                time.sleep(chance.uniform(0, span))
                if self.kill_if(is_now, whom):
                    return True
                span /= 2
            elif self.seconds > PATIENCE:
                self.end()
                raise SystemExit(f"no end after {PATIENCE} s: {' '.join(self.words)}")
            time.sleep(0.001)
        return False

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code, once all its processes are gone; whoever stays is killed, and told."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise SystemExit(f"no end after {seconds} s: {' '.join(self.words)}") from None
        end = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > end:
                self.end()
                raise SystemExit(f"processes stay after {seconds} s: {' '.join(self.words)}")
            time.sleep(0.05)
        return code

    def end(self) -> None:
        """Leave nothing of it running."""
        self.signal(self.processes(), signal.SIGKILL)
        self.process.wait()


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def maps_of(pid: int) -> str:
    """The files that a process has mapped."""
    try:
        return Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return ""


def state_of(pid: int) -> str:
    """What /proc calls the state: R, S, T, Z, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
