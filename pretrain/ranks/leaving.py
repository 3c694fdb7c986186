"""Asked to leave before the first step: within seconds, in one line, all ranks together.

The loop asks at each step whether it must leave (`preemption.py`). Before the first one nobody
asks: text is prepared, a lock awaited, ranks are missing, for hours perhaps. A signal then raises
`Leave` in the main thread. But Python runs handlers between two of its instructions only, and a
collective or a library's training has none for as long as it lasts. So a thread hears of each
signal as well, and ends the process where the main thread has not left by itself. Ranks tell each
other by the store in which they met; who leaves alone hangs the others.

Light: the launch scripts begin with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # this module is light: every command begins with it
    from torch._C._distributed_c10d import Store

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
GRACE_SECONDS = 3.0
"""seconds for the main thread to clear up and leave by itself"""
ALONE_SECONDS = 15.0
"""seconds after which a rank that has not met the others leaves without them"""
TOGETHER_SECONDS = 8.0
"""seconds for all ranks to say that they leave"""
POLL_SECONDS = 0.5
REPEAT_SECONDS = 0.5
"""seconds within which a second SIGINT is the first one, passed on by a launcher"""
LEFT = "leaving before the first step ({}): the same command resumes"
ENDED = "error: ended by SIGTERM; the same command resumes what can be resumed"
INTERRUPTED = "error: interrupted; run the same command to resume from the last checkpoint"


class Leave(BaseException):
    """This process was asked to leave before its first step."""


class Leaving:
    """What this process knows of signals; one object, `LEAVING`, as there is one process."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """the signal that asks to leave"""
        self.interrupted: float | None = None
        """when a signal came that ends the process"""
        self._ended_by: int = signal.SIGINT
        self.run_dir: Path | None = None
        """the folder that this process owns, on rank 0"""
        self._hurries = self._is_caught = False
        self._heard: tuple[int, ...] = ()
        self._endings: tuple[int, ...] = ()
        self._is_closing = self._has_begun = self._is_ending = False
        self._rank, self._size = 0, 1
        self._store: Store | None = None
        self._deadline: float | None = None
        self._lock, self._end = threading.RLock(), threading.Lock()

    # -- for launch scripts ---------------------------------------------------------------------

    def listen(self, notices: bool = False, hurries: bool = True) -> None:
        """Begin to hear signals, before anything else is imported.

        Args:
            notices: `SIGNALS` ask a run to save and leave. False: SIGTERM ends the process as
                SIGINT does, and the others are not heard.
            hurries: end the process by force where SIGINT does not. False: the main thread has
                something to wait for; a second SIGINT always ends it.
        """
        self._hurries = hurries
        self._rank = int(os.environ.get("RANK") or 0)
        self._size = int(os.environ.get("WORLD_SIZE") or 1)
        signal_reader, self._signal_writer = os.pipe()
        os.set_blocking(self._signal_writer, False)
        signal.set_wakeup_fd(self._signal_writer, warn_on_full_buffer=False)
        threading.Thread(
            target=self._watch, args=(signal_reader,), name="leaving", daemon=True
        ).start()
        self._endings = (signal.SIGINT,) if notices else (signal.SIGINT, signal.SIGTERM)
        self._heard = (*self._endings, *(SIGNALS if notices else ()))
        for number in self._heard:
            signal.signal(number, self._interrupt if number in self._endings else self._notice)

    def hand_over(self) -> None:
        """From now on somebody catches KeyboardInterrupt and `Leave`, and calls `end`."""
        self._is_caught = True

    @property
    def is_asked(self) -> bool:
        """Whether whatever happens now happens because this process, or a rank, leaves."""
        noted = self.reason is not None and not self._has_begun
        return self.interrupted is not None or noted

    # -- for a run, on its way to the first step ------------------------------------------------

    def ask(self, reason: str) -> None:
        """Ask this process to leave, as a signal does; from any thread, for `reason`.

        Nothing where no launch script listens, or the first step is near: then the steps ask.
        """
        with self._lock:
            listens = signal.SIGTERM in self._heard and signal.SIGTERM not in self._endings
            if not (listens and self._is_caught) or self._is_closing:
                return
            self.reason = self.reason or reason
        os.kill(os.getpid(), signal.SIGTERM)

    def join(self, store: Store) -> None:
        """The ranks' common store is there: from now on they leave together."""
        if self._size == 1 or not self._is_caught:
            return
        from datetime import timedelta

        # Of this thread: the other connection may be waiting. torch's stubs lack the method.
        own: Store = store.clone()  # type: ignore[attr-defined]  # not in the stubs
        own.set_timeout(timedelta(seconds=TOGETHER_SECONDS))
        with self._lock:
            self._store = own
        # No signal: the thread is to look at the store from now on.
        os.write(self._signal_writer, b"\0")
        if self.reason:
            raise Leave

    def owns(self, run_dir: Path) -> None:
        """The run's folder is ours to write a status into; the first one named counts."""
        self.run_dir = self.run_dir or run_dir

    def close(self) -> None:
        """The first step is near: what comes now is for the steps to ask about."""
        with self._lock:
            if not self._is_ending:
                self._is_closing, self._deadline = True, None
                return
        self.end()

    def begin(self, gather: Callable[[str | None], list[str | None]]) -> None:
        """After `close`, on all ranks: the first step is taken, or all raise `Leave`.

        `gather` gives every rank's value to every rank, as `World.gather` does.
        """
        if self._has_begun or not self._is_caught:
            return
        reasons = [reason for reason in gather(self.reason) if reason]
        if reasons:
            self.reason = reasons[0]
            raise Leave
        self._has_begun, self._store = True, None

    def end_interrupted(self) -> NoReturn:
        """Leave as after SIGINT, whatever raised KeyboardInterrupt."""
        self.interrupted = self.interrupted or time.monotonic()
        self.end()

    def end(self) -> NoReturn:
        """Leave now, with what has to be said and written."""
        # Main thread and watching thread may both come here, and the first ends the process.
        # `close` looks at the flag under the same lock, so that no first step is taken meanwhile.
        with self._lock:
            self._is_ending = True
        self._end.acquire()  # for good: one thread speaks
        try:
            if self.interrupted is None:
                self._tell_ranks()
            if self._rank == 0:
                self._write_status()
                if self.interrupted is not None:
                    words = INTERRUPTED if self._ended_by == signal.SIGINT else ENDED
                    print(words, file=sys.stderr, flush=True)
                else:
                    print(LEFT.format(self.reason), flush=True)
        finally:
            # At once: an ordinary exit joins threads and destroys process groups, which may wait
            # for ranks that have left already.
            os._exit(0 if self.interrupted is None else 128 + self._ended_by)

    def finish(self) -> None:
        """All is done: a signal that comes while the interpreter ends makes no failure of it.

        Call it in the main thread.
        """
        for number in self._heard:
            signal.signal(number, signal.SIG_IGN)

    def stop_listening(self) -> None:
        """The process has failed and is about to leave: a signal ends it at once, without a word.

        Call it in the main thread.
        """
        self._store = None  # where rank 0, which keeps it, has gone, torch would tell at length
        for number in (signal.SIGINT, *SIGNALS):
            signal.signal(number, signal.SIG_DFL)

    # -- signals, in the main thread ------------------------------------------------------------

    def _interrupt(self, number: int, _frame: object) -> None:
        if self.interrupted is None:
            self.interrupted, self._ended_by = time.monotonic(), number
        if not self._is_caught:
            self.end()
        raise KeyboardInterrupt

    def _notice(self, number: int, _frame: object) -> None:
        if self.reason is None:
            self.reason = signal.Signals(number).name
        if self._is_closing or (self._size > 1 and self._store is None):
            return
        if not self._is_caught:
            self.end()
        raise Leave

    # -- the thread -----------------------------------------------------------------------------

    def _watch(self, signal_reader: int) -> None:
        while True:
            waits = self._deadline is not None or self._store is not None
            ready, *_ = select.select([signal_reader], [], [], POLL_SECONDS if waits else None)
            for number in os.read(signal_reader, 64) if ready else b"":
                self._hear(number)
            self._hear_ranks()
            with self._lock:
                is_over = self._deadline is not None and time.monotonic() >= self._deadline
                self._is_ending |= is_over
            if is_over:
                self.end()

    def _hear(self, number: int) -> None:
        now = time.monotonic()
        if number in self._endings:
            if self.interrupted is not None and now - self.interrupted > REPEAT_SECONDS:
                os._exit(128 + number)
            if self.interrupted is None:
                self.interrupted, self._ended_by = now, number
            self._deadline = now + GRACE_SECONDS if self._hurries else None
        elif number in SIGNALS:
            with self._lock:
                if self._is_closing or self._deadline is not None:
                    return
                self.reason = self.reason or signal.Signals(number).name
                is_lone = self._size > 1 and self._store is None
                self._deadline = now + (ALONE_SECONDS if is_lone else GRACE_SECONDS)

    def _hear_ranks(self) -> None:
        """Whether another rank leaves."""
        store = self._store
        if store is None or self._deadline is not None:
            return
        try:
            if not store.check(["leave"]):
                return
            reason = store.get("leave").decode()
        except Exception:  # rank 0, which keeps the store, has gone
            self._store = None
            return
        with self._lock:
            if self._has_begun:
                return
            self.reason = self.reason or reason
            self._deadline = time.monotonic() + (0 if self._is_closing else GRACE_SECONDS)
        if not self._is_closing:
            main = threading.main_thread().ident
            assert main is not None, "it has started"
            signal.pthread_kill(main, signal.SIGTERM)

    # -- the end --------------------------------------------------------------------------------

    def _tell_ranks(self) -> None:
        """Say that this rank leaves, and wait until all have."""
        store, end = self._store, time.monotonic() + TOGETHER_SECONDS
        if store is None:
            return
        with contextlib.suppress(Exception):  # rank 0, which keeps the store, has gone
            store.set("leave", self.reason or "")
            store.add("leaving", 1)
            while store.add("leaving", 0) < self._size and time.monotonic() < end:
                time.sleep(0.1)
            if self._rank == 0:
                time.sleep(POLL_SECONDS)  # the others still ask

    def _write_status(self) -> None:
        from configs.system.run_folder import RunFolder

        if self.run_dir is None:
            return
        folder = RunFolder(self.run_dir)
        with contextlib.suppress(Exception):
            status = folder.read_status()
            if self.interrupted is not None:
                if status == "running":
                    folder.write_status("interrupted")
            elif status != "completed":
                folder.write_status("preempted")
                folder.write_requeue(folder.newest_step(), self.reason)


LEAVING = Leaving()
