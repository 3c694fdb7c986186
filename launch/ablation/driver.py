"""Runs the cells of a grid here, some at a time, beside other drivers of the same grid.

Nothing is kept but the run folders. At each turn the grid is expanded anew, every cell whose
status is `completed` is left alone, and of the others those are started whose predecessors are
completed and whose lock is free. Killing the driver therefore loses nothing: its children go on,
and hold their locks, until they are done.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from configs.system.run_lock import INHERITED, Lock, Taken, take
from configs.system.safe_text import visible
from configs.system.version import ROOT
from launch.ablation.cells import Cell, Grid
from launch.ablation.comparability import Run, require_same_recipe
from launch.ablation.scores import headline
from launch.slurm.folders import write_config
from pretrain.run.log import duration

logger = logging.getLogger(__name__)

LOG = "log.txt"
POLL_SECONDS = 0.5
ENDED = ("failed", "out-of-memory")


@dataclass(frozen=True)
class Working:
    """A cell that runs now."""

    cell: Cell
    process: subprocess.Popen
    since: float


class Driver:
    """Works a grid off."""

    def __init__(
        self,
        grid: Grid,
        jobs: int = 1,
        only: set[Path] | None = None,
        command: Callable[[Cell], list[str]] | None = None,
    ) -> None:
        """`only` names the run folders to work on, `command` tells what a cell runs; None: all, and
        its launch script."""
        self.grid, self.jobs, self.only = grid, jobs, only
        self.command = command or launch_command
        self.slots: list[Working | None] = [None] * jobs
        self.minutes: list[float] = []
        self.failed: dict[Path, str] = {}
        """run folder -> what became of it"""
        self.elsewhere: set[Path] = set()

    def run(self) -> dict[Path, str]:
        """Work until nothing is left that can be done; returns what failed, and why.

        Raises:
            InputError: a run folder holds another recipe.
            KeyboardInterrupt: by SIGINT or SIGTERM, once all children are saved and gone.
        """
        cells = self.grid.distinct()
        for cell in cells:
            require_same_recipe(Run(cell))
        done = sum(cell.is_completed for cell in cells)
        logger.info(f"{visible(self.grid.folder)}: {len(cells)} cells, {done} completed")
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while self._turn():
                time.sleep(POLL_SECONDS)
        except BaseException:
            self._leave()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
        return self.failed

    def _turn(self) -> bool:
        """Look after children and start what can be started; False where nothing is left."""
        for number, working in enumerate(self.slots):
            if working and working.process.poll() is not None:
                self.slots[number] = None
                self._close(working)
        ready = self._ready()
        for cell in ready:
            if None in self.slots and cell.run_dir not in self._busy():
                self._start(cell, self.slots.index(None))
        return bool(self._busy() or [c for c in ready if c.run_dir not in self.failed])

    def _busy(self) -> list[Path]:
        return [working.cell.run_dir for working in self.slots if working]

    def _ready(self) -> list[Cell]:
        """What can be started, or is running."""
        return [
            cell
            for cell in self.grid.ready()
            if cell.run_dir not in self.failed and (self.only is None or cell.run_dir in self.only)
        ]

    def _start(self, cell: Cell, slot: int) -> None:
        """Start a cell unless another process has it, or has just finished it."""
        try:
            lock = take(cell.run_dir)
        except Taken:
            self.elsewhere.add(cell.run_dir)
            return
        try:
            if cell.run_dir in self.elsewhere and cell.status in ENDED:
                self.failed[cell.run_dir] = f"{cell.name}: {cell.status}, under another driver"
            elif not cell.is_completed:
                write_config(cell.run_dir, cell.config)
                process = spawn(self.command(cell), cell.run_dir / LOG, lock, self._cores(slot))
                self.slots[slot] = Working(cell, process, time.monotonic())
        finally:
            if self.slots[slot]:
                lock.hand_over()
            else:
                lock.release()

    def _cores(self, slot: int) -> list[int]:
        """This slot's equal share of the cores."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return cores[slot :: self.jobs] or cores[slot % max(1, len(cores)) :][:1]

    def _close(self, working: Working) -> None:
        """Say what became of a cell."""
        cell, minutes = working.cell, (time.monotonic() - working.since) / 60
        cells = self.grid.distinct()
        done = sum(other.is_completed for other in cells)
        if not cell.is_completed:
            said = last_line(cell.run_dir / LOG)
            self.failed[cell.run_dir] = f"{cell.name}: {said} ({cell.run_dir / LOG})"
            logger.info(f"failed  {visible(self.failed[cell.run_dir])}")
            return
        self.minutes.append(minutes)
        left = 60 * mean(self.minutes) * (len(cells) - done) / self.jobs
        logger.info(
            f"{done:>3}/{len(cells)}  {visible(cell.name):<40}  "
            f"{visible(headline(self.grid.config, cell)):<24}  "
            f"{minutes:.1f} min  left {duration(left)}",
        )

    def _leave(self) -> None:
        """Ask all children to save and leave, and wait until they are gone."""
        working = [working for working in self.slots if working]
        for child in working:
            child.process.terminate()
        if working:
            logger.info(f"waiting for {len(working)} runs to save and leave")
        for child in working:
            child.process.wait()


def launch_command(cell: Cell) -> list[str]:
    """What a person would type for this cell."""
    script, config = f"launch/{cell.command.kind}.py", cell.run_dir / "job.yaml"
    return [sys.executable, str(ROOT / script), "--config", str(config)]


def spawn(words: list[str], log: Path, lock: Lock, cores: list[int]) -> subprocess.Popen:
    """A child on `cores`, out of the terminal's reach, that holds `lock` as long as it lives."""
    own = {INHERITED: str(lock.descriptor)}
    if cores:
        own["OMP_NUM_THREADS"] = str(len(cores))
    with log.open("ab") as output, running_on(cores):
        return subprocess.Popen(
            words,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.descriptor,),
            start_new_session=True,
        )


@contextmanager
def running_on(cores: list[int]) -> Iterator[None]:
    """This process, and what it starts meanwhile, on `cores`; on any, where there are none."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
