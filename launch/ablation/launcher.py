"""Trains the runs of a grid: as jobs of a cluster, or on this machine, some at a time, beside other
launchers of the grid.

Nothing is kept but the run folders. At each turn the grid is expanded anew, every run whose status
is `completed` is left alone, and of the others those are started whose predecessors are completed
and whose lock is free. Killing the launcher therefore loses nothing: its children continue, and
hold their locks, until they are done.
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
from typing import TypeVar

import torch

from configs.checks import require
from configs.system.run_lock import INHERITED, Lock, Taken, is_taken, take
from configs.system.run_names import JOB_CONFIG
from configs.system.safe_text import visible
from configs.system.version import ROOT
from launch.ablation.comparability import Outcome, require_same_recipe
from launch.ablation.grid import Grid, GridRun
from launch.ablation.measure import headline
from launch.ablation.preconditions import require_examples
from launch.slurm.folders import is_waiting, require_slurm, write_config
from launch.slurm.jobs import read_cluster, submit_commands
from pretrain.run.log import duration

logger = logging.getLogger(__name__)

Thing = TypeVar("Thing")

LOG = "log.txt"
POLL_SECONDS = 0.5
ENDED = ("failed", "out-of-memory")


@dataclass(frozen=True)
class Child:
    """A run that is trained now, by a process of its own."""

    run: GridRun
    process: subprocess.Popen[bytes]
    since: float


def train_here(grid: Grid, jobs: int, only_failed: bool) -> dict[Path, str]:
    """Train the runs that are left, `jobs` at a time; returns those that failed, and why.

    Raises:
        InputError: no run was started and left, with `only_failed`; a task's files are missing; a
            run folder holds another recipe.
        KeyboardInterrupt: by SIGINT or SIGTERM, once all children are saved and gone.
    """
    only = None
    if only_failed:
        only = {run.run_dir for run in grid.distinct_runs() if run.status and not run.is_completed}
        require(bool(only), "--only failed: every run that was started is completed")
    require_examples(grid)
    return Launcher(grid, jobs, only).train()


def train_on_cluster(grid: Grid, cluster: str, only_failed: bool, is_dry: bool = False) -> str:
    """Queue all runs that can be started now and are not in the queue; returns what is told of it.

    The tasks of an encoder, and what waits for a tuned value, can be queued by the same command
    once the array is done.

    Args:
        is_dry: return the script of the array instead, and leave no trace.
    Raises:
        InputError: there is nothing to queue, or no SLURM to queue it.
    """
    profile = read_cluster(cluster)
    if not is_dry:
        require_slurm()
    runs = [run for run in grid.ready_runs() if run.status or not only_failed]
    runs = [r for r in runs if not is_waiting(r.run_dir) and not is_taken(r.run_dir)]
    require(bool(runs), f"{grid.folder}: no run can be queued now: see --dry-run, or wait")
    name = f"{grid.folder.parent.name}-{grid.config.scale}"
    return submit_commands([run.command for run in runs], name, profile, dry_run=is_dry)


class Launcher:
    """Trains what is left of a grid."""

    def __init__(
        self,
        grid: Grid,
        jobs: int = 1,
        only: set[Path] | None = None,
        command: Callable[[GridRun], list[str]] | None = None,
    ) -> None:
        """`only` names the run folders to work on, `command` tells what is typed for a run; None:
        all, and its launch script."""
        self.grid, self.jobs, self.only = grid, jobs, only
        self.command = command or launch_command
        self.slots: list[Child | None] = [None] * jobs
        self.minutes: list[float] = []
        self.failed: dict[Path, str] = {}
        """run folder -> what became of it"""
        self.elsewhere: set[Path] = set()

    def train(self) -> dict[Path, str]:
        """Until nothing is left that can be done; returns the run folders of what failed, and why.

        Raises: as `train_here`.
        """
        runs = self.grid.distinct_runs()
        for run in runs:
            require_same_recipe(Outcome(run))
        done = sum(run.is_completed for run in runs)
        logger.info(f"{visible(self.grid.folder)}: {len(runs)} runs, {done} completed")
        # As Ctrl-C, which Python raises as KeyboardInterrupt: children are told, and waited for.
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
        for number, child in enumerate(self.slots):
            if child and child.process.poll() is not None:
                self.slots[number] = None
                self._close(child)
        ready = self._ready()
        for run in ready:
            if None in self.slots and run.run_dir not in self._busy():
                self._start(run, self.slots.index(None))
        return bool(self._busy() or [run for run in ready if run.run_dir not in self.failed])

    def _busy(self) -> list[Path]:
        return [child.run.run_dir for child in self.slots if child]

    def _ready(self) -> list[GridRun]:
        """What can be started, or is running."""
        return [
            run
            for run in self.grid.ready_runs()
            if run.run_dir not in self.failed and (self.only is None or run.run_dir in self.only)
        ]

    def _start(self, run: GridRun, slot: int) -> None:
        """Start a run unless another process has it, or has just finished it."""
        # The lock before the status: between a look and a start another launcher could begin, or
        # finish, the same run.
        try:
            lock = take(run.run_dir)
        except Taken:
            self.elsewhere.add(run.run_dir)
            return
        try:
            if run.run_dir in self.elsewhere and run.status in ENDED:
                self.failed[run.run_dir] = f"{run.name}: {run.status}, under another ablate.py"
            elif not run.is_completed:
                write_config(run.run_dir, run.config)
                cores, gpus = self._share(own_cores(), slot), self._share(visible_gpus(), slot)
                process = spawn(self.command(run), run.run_dir / LOG, lock, cores, gpus)
                self.slots[slot] = Child(run, process, time.monotonic())
        finally:
            if self.slots[slot]:
                lock.hand_over()  # the child holds it as long as it lives, also without us
            else:
                lock.release()

    def _share(self, things: list[Thing], slot: int) -> list[Thing]:
        """This slot's equal share of cores or GPUs; some share one where there are too few."""
        if len(things) >= self.jobs or not things:
            return things[slot :: self.jobs]
        return [things[slot % len(things)]]

    def _close(self, child: Child) -> None:
        """Say what became of a run."""
        run, minutes = child.run, (time.monotonic() - child.since) / 60
        runs = self.grid.distinct_runs()
        done = sum(other.is_completed for other in runs)
        if not run.is_completed:
            said = last_line(run.run_dir / LOG)
            self.failed[run.run_dir] = f"{run.name}: {said} ({run.run_dir / LOG})"
            logger.info(f"failed  {visible(self.failed[run.run_dir])}")
            return
        self.minutes.append(minutes)
        left = 60 * mean(self.minutes) * (len(runs) - done) / self.jobs
        logger.info(
            f"{done:>3}/{len(runs)}  {visible(run.name):<40}  "
            f"{visible(headline(run, self.grid.config.metrics)):<24}  "
            f"{minutes:.1f} min  left {duration(left)}",
        )

    def _leave(self) -> None:
        """Ask all children to save and leave, and wait until they are gone."""
        processes = [child.process for child in self.slots if child]
        for process in processes:
            process.terminate()
        if processes:
            logger.info(f"waiting for {len(processes)} runs to save and leave")
        for process in processes:
            process.wait()


def launch_command(run: GridRun) -> list[str]:
    """What a person would type for this run."""
    script, config = f"launch/{run.command.kind}.py", run.run_dir / JOB_CONFIG
    return [sys.executable, str(ROOT / script), "--config", str(config)]


def own_cores() -> list[int]:
    """The processors that this process may run on; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def spawn(
    words: list[str], log: Path, lock: Lock, cores: list[int], gpus: list[str]
) -> subprocess.Popen[bytes]:
    """A child on `cores` and `gpus`, out of the terminal's reach, that holds `lock` as long as it
    lives."""
    # A session of its own: Ctrl-C reaches this process alone, which tells the children in its way,
    # once, and waits for their checkpoints.
    own = {INHERITED: str(lock.descriptor)}
    if cores:
        own["OMP_NUM_THREADS"] = str(len(cores))
    if gpus:
        own["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
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
