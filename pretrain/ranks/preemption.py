"""A request from outside that this process leaves: a signal, the end of its time or its launcher.

The scheduler tells one rank or all of them, early or late; who leaves alone hangs the others. So a
notice is only a flag here. Ranks add their flags up at each step (`World.sum_on_host`) and leave
together.

A rank without its launcher would train unseen. DeepSpeed's command starts a second process, which
starts the ranks: SIGKILL to the first (a person, or the system short of memory) reaches neither. A
shell is no launcher: who logs out may want a run to continue. Where there is no /proc, nothing is
noticed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from configs.system.lock_holder import proc_stat
from pretrain.ranks.leaving import LEAVING, SIGNALS

if TYPE_CHECKING:  # torch is not for every command to load
    from pretrain.ranks.world import World

SECOND = "deepspeed.launcher.launch"
"""the module that DeepSpeed's command starts, on this machine or by a remote shell"""
ADOPTERS = ("systemd", "init")
"""who, besides process 1, becomes the parent of a process whose own has died"""
LAUNCHERS = ("deepspeed", "torchrun", SECOND, "torch.distributed.run")
"""scripts and modules"""


class Preempted(Exception):
    """All ranks have agreed to leave before the end; what was done is saved."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"leaving at step {step} ({reason}): the same command resumes there")
        self.step, self.reason = step, reason


class PreemptionNotice:
    """Whether this process was asked to leave, and by what."""

    def __init__(self, minutes: float | None = None) -> None:
        """`minutes` from now, the time is over."""
        self.reason: str | None = None
        self._minutes = minutes
        self._launchers = find_launchers()
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes

    def is_given(self) -> bool:
        """True once a signal has come, the time is over, or the launcher is gone."""
        if self.reason is None and self._deadline and time.monotonic() >= self._deadline:
            self.reason = self._time_is_over()
        if self.reason is None and is_any_gone(self._launchers):
            self.reason = "the launcher is gone"
        return self.reason is not None

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """A block in which nobody asks `is_given`, for hours perhaps: once the time is over, the
        process leaves as it does after a signal. Only for work whose finished parts stay: else
        no start would ever come further than the one before.
        """
        if self._deadline is None:
            yield
            return
        seconds = max(0.0, self._deadline - time.monotonic())
        timer = threading.Timer(seconds, LEAVING.ask, [self._time_is_over()])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_is_over(self) -> str:
        return f"safety.stop_after_minutes={self._minutes:g} are over"

    def leave(self, world: World, step: int, doing: str = "") -> NoReturn:
        """Raise `Preempted`, on all ranks together, with the first reason that one of them has."""
        reasons = [reason for reason in world.gather(self.reason) if reason]
        raise Preempted(step, f"{doing}{reasons[0]}")

    @contextmanager
    def listening(self, world: World | None = None) -> Iterator[PreemptionNotice]:
        """Note `SIGNALS` instead of dying of them; a launcher may send them again and again; raises
        `Leave`: on all ranks of `world`, where one was asked before it came here."""
        # First `close`, then our handlers, then the agreement: a signal before `close` raises
        # `Leave`, one after it is noted by the one or the other, and none falls between.
        LEAVING.close()
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            if world is not None:
                LEAVING.begin(world.gather)
            self.reason = self.reason or LEAVING.reason
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        if self.reason is None:
            self.reason = signal.Signals(number).name
            # print() may be what the signal interrupted.
            os.write(2, f"{self.reason}: leaving after this step\n".encode())


def find_launchers() -> list[int]:
    """Ids of the launchers above this process, the nearest first; 0: one that is gone already."""
    # Remembered by id at the start: once a launcher has died, its child has another parent, and
    # nothing tells any more who it was.
    launchers: list[int] = []
    words: list[str] = []
    pid = os.getppid()
    while is_launcher(_words_of(pid)):
        launchers.append(pid)
        words, pid = _words_of(pid), _parent_of(pid)
    is_second = any(Path(word).name == SECOND for word in words)
    # The second process whose own parent has died has been adopted.
    if is_second and (pid == 1 or _told(pid, "comm") in ADOPTERS):
        launchers.append(0)
    return launchers


def is_launcher(words: list[str]) -> bool:
    """Whether a command line is that of a launcher in Python."""
    is_python = bool(words) and Path(words[0]).name.startswith("python")
    return is_python and any(Path(word).name in LAUNCHERS for word in words[1:5])


def is_any_gone(launchers: list[int]) -> bool:
    """Whether one of those that `find_launchers` found has died: its child has another parent."""
    chain = pairwise([os.getpid(), *launchers])
    return any(_parent_of(child) != parent for child, parent in chain)


def _words_of(pid: int) -> list[str]:
    return _told(pid, "cmdline").split("\0")


def _told(pid: int, file: str) -> str:
    """What one of Linux's files tells of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text(errors="replace").strip()
    except OSError:
        return ""


def _parent_of(pid: int) -> int:
    """The parent's id; 0 where the process is gone."""
    if pid == os.getpid():
        return os.getppid()
    fields = proc_stat(pid)
    return int(fields[1]) if fields else 0
