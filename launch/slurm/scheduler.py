"""Slurm's own commands: sbatch, squeue, and whether this machine has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from configs.errors import InputError


def require_slurm() -> None:
    """Raise `InputError` where there is no sbatch."""
    if shutil.which("sbatch") is None:
        raise InputError(
            "there is no sbatch on this machine's PATH: submit from a login node of the cluster, "
            "or look at the script with --dry-run"
        )


def sbatch(script: Path, *options: str) -> str:
    """Submit a script; returns the job's id.

    Raises:
        InputError: Slurm refuses it; the message is Slurm's own.
    """
    command = ["sbatch", "--parsable", *options, str(script)]
    # By which a job knows that it follows another one.
    environment = {k: v for k, v in os.environ.items() if k != "MASKLAB_FOLLOWS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().removeprefix("sbatch: error: ")
        raise InputError(
            f"sbatch refused {script}: {reason or 'no reason given'}; see the cluster profile"
        )
    return done.stdout.strip().split(";")[0]


def is_queued(job: str) -> bool:
    """Whether a job, or an array's element, waits or runs; Slurm forgets those that ended.

    Raises:
        InputError: Slurm does not answer: a job that nobody sees may run all the same.
    """
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={job}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise InputError(
            f"squeue cannot tell whether job {job} is queued: {done.stderr.strip()}: try again"
        )
    return done.returncode == 0 and bool(done.stdout.strip())
