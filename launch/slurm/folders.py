"""Slurm's own commands, and what a submission finds and leaves in run folders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import dump_config
from configs.schema import PretrainConfig
from configs.system.files import write_text, written_aside
from configs.system.run_folder import RunFolder
from configs.system.run_lock import find_holder
from configs.system.run_names import JOB_CODE, JOB_CONFIG, JOB_ID, JOB_LOGS
from configs.system.version import PACKAGES, ROOT, VERSION_FILE, code_version
from launch.slurm.render import COMMANDS, Job


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


def require_idle(folder: Path) -> None:
    """Raise `InputError` where a job of this folder waits or runs, or a process works on it.

    Two of them would write into the same run.
    """
    if holder := find_holder(folder):
        raise InputError(
            f"{folder}: a run is at work there ({holder}): wait for its end, stop it, or choose "
            "another run_dir"
        )
    job = queued_job(folder)
    if job:
        raise InputError(
            f"{folder}: job {job} is in the queue for it: wait, `scancel {job}`, or choose another "
            "run_dir"
        )


def queued_job(folder: Path) -> str | None:
    """The job that was last submitted for a folder, if it waits or runs."""
    path = folder / JOB_ID
    job = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    is_whole = re.fullmatch(r"[0-9][0-9,_]*", job)
    return job if is_whole and is_queued(job) else None


def is_waiting(folder: Path) -> bool:
    """Whether Slurm, where there is one, still has the job of a folder."""
    return shutil.which("squeue") is not None and queued_job(folder) is not None


def write_job(job: Job, script: str) -> None:
    """The script as rendered, the code, the folder of logs and an array's commands."""
    (job.folder / JOB_LOGS).mkdir(parents=True, exist_ok=True)
    take_snapshot(job.folder / JOB_CODE)
    write_text(job.script, script)
    if job.commands:
        write_text(job.folder / COMMANDS, job.commands)


def take_snapshot(folder: Path) -> None:
    """Copy the packages into `folder`, in place of an earlier copy, with their version.

    A job may wait for a week, or be requeued after one. It then runs the code that was submitted,
    uncommitted changes among it.
    """
    with written_aside(folder) as aside:
        for package in PACKAGES:
            shutil.copytree(
                ROOT / package, aside / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        (aside / VERSION_FILE).write_text(f"{code_version()}\n", encoding="utf-8")


def note_job(folder: Path, number: str) -> None:
    """Keep the job's number in its folder, where `require_idle` looks for it."""
    write_text(folder / JOB_ID, f"{number}\n")


def write_config(folder: Path, config: PretrainConfig | FinetuneConfig) -> None:
    """The resolved configuration: what is edited later does not reach a job that waits."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / JOB_CONFIG, dump_config(config))


@contextmanager
def pending(folders: list[Path]) -> Iterator[None]:
    """`pending` is the status of run folders; where the block fails, it is what it was before."""
    before = {folder: RunFolder(folder).read_status() for folder in folders}
    for folder in folders:
        RunFolder(folder).write_status("pending")
    try:
        yield
    except BaseException:
        for folder, status in before.items():
            RunFolder(folder).status.unlink()
            if status:
                RunFolder(folder).write_status(status)
        raise
