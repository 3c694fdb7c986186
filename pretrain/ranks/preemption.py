"""Word from outside that this process must leave: a signal, the end of its time or its launcher.

The scheduler tells one rank or all of them, early or late; who leaves alone hangs the others. So a
notice is only a flag here. Ranks add their flags up at each step (`World.sum_on_host`) and leave
together.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from pretrain.ranks.launcher import find_launchers, is_any_gone
from pretrain.ranks.leaving import LEAVING, SIGNALS, Ranks


class Preempted(Exception):
    """All ranks have agreed to leave before the end; what was done is saved."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"leaving at step {step} ({reason}): the same command goes on from there")
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
            self.reason = f"safety.stop_after_minutes={self._minutes:g} are over"
        if self.reason is None and is_any_gone(self._launchers):
            self.reason = "the launcher is gone"
        return self.reason is not None

    def leave(self, world: Ranks, step: int, doing: str = "") -> NoReturn:
        """Raise `Preempted`, on all ranks together, with the first reason that one of them has."""
        reasons = [reason for reason in world.gather(self.reason) if reason]
        raise Preempted(step, f"{doing}{reasons[0]}")

    @contextmanager
    def listening(self, world: Ranks | None = None) -> Iterator[PreemptionNotice]:
        """Note `SIGNALS` instead of dying of them; a launcher may send them again and again.

        Raises:
            Leave: on all ranks of `world`, where one was asked before it came here.
        """
        LEAVING.close()
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            if world is not None:
                LEAVING.begin(world)
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
