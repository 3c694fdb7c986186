"""The few words that are spoken with Slurm."""

from __future__ import annotations

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
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().removeprefix("sbatch: error: ")
        raise InputError(
            f"sbatch refused {script}: {reason or 'no reason given'}; see the cluster profile"
        )
    return done.stdout.strip().split(";")[0]


def is_queued(job: str) -> bool:
    """Whether a job, or an array's element, waits or runs; Slurm forgets those that ended."""
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={job}"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0 and bool(done.stdout.strip())
