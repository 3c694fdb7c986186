"""A rank that waits for one that is gone must not burn the allocation."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

from configs.errors import RunError
from configs.system.run_folder import RunFolder
from configs.system.run_lock import require_ours

BEFORE = (None, "pending", "preempted", "running")
"""what a hang turns into `failed`; other words tell more, and come from a rank that knew"""


class Watchdog:
    """Ends the process, with a dump of all its stacks, where `beat` has been silent too long.

    A thread and not a timeout of the collectives: NCCL's and gloo's differ, and what hangs may as
    well be a file system.
    """

    def __init__(self, minutes: float, run_dir: Path, rank: int) -> None:
        self.limit, self.folder = 60 * minutes, RunFolder(run_dir)
        self.dump = self.folder.dumps / f"hang-rank-{rank}.txt"
        self._doing, self._since = "starting", time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self, doing: str) -> None:
        """All is well; `doing` comes next."""
        self._doing, self._since = doing, time.monotonic()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(5.0, self.limit / 10)):
            if time.monotonic() - self._since > self.limit:
                self._end()

    def _end(self) -> None:
        told = f"every rank's stacks are in {self.dump.parent}"
        try:
            require_ours(self.folder.path)
            if self.folder.read_status() in BEFORE:
                self.folder.settle_status("failed")
            self.dump.parent.mkdir(parents=True, exist_ok=True)
            with self.dump.open("w") as file:
                minutes = f"{self.limit / 60:g} minutes"
                print(f"{self._doing}: no end after {minutes}", file=file, flush=True)
                faulthandler.dump_traceback(file, all_threads=True)
        except (OSError, RunError) as error:
            told = f"its stacks were not kept ({error})"
        print(
            f"error: {self._doing} has not ended within safety.hang_minutes={self.limit / 60:g}: a "
            f"rank, a link or the disk hangs; {told}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)
