"""A job script with stand-ins for Slurm's commands and for the trainer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from launch.slurm.render import FOLDER
from tests.conftest import ROOT
from tests.unit.launch.slurm.fakes import install

FAKES = {
    # Options, then the command: rank.sh or python.
    "srun": """
while [[ $1 == -* ]]; do
  [ "$1" != --overlap ] || exit "$LOST"
  shift
done
exec "$@" """,
    "scontrol": """
case "$1 $2" in
  "show hostnames") echo n1 ;;
  "requeue "*) echo "$@" >>"$CALLS"; [ -z "$REFUSE" ] || { echo "$REFUSE" >&2; exit 1; } ;;
  "write "*) echo "#!/bin/bash" >"$4" ;;
esac""",
    "squeue": 'case $* in *EndTime*) echo "$END" ;; *) echo "$STATE $DONE" ;; esac',
    "sbatch": 'echo "sbatch $*" >>"$CALLS"; echo 8',
    "python": f"""
case $1 in -c | */command_words.py) exec {sys.executable} "$@" ;; esac
echo "$@" >>"$CALLS"; eval "$TRAINER"; exit "$CODE" """,
}
SAVE = "mkdir -p $RUN/checkpoints/step-00000120; echo preempted >$RUN/status; "
PREEMPTED = f'{SAVE} echo "120 SIGUSR1" >$RUN/REQUEUE'


class Job:
    """A template under stand-ins; what it said, and what it asked of Slurm."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_dir, self.calls = folder, folder / "run", folder / "calls"
        self.environment = {
            **os.environ,
            "PATH": install(folder / "bin", **FAKES),
            "CALLS": str(self.calls),
            "RUN": str(self.run_dir),
            "MASKLAB_CODE": str(ROOT),
            "MASKLAB_PYTHON": "python",
            "MASKLAB_RUN_DIR": str(self.run_dir),
            "MASKLAB_SHARDS": "4",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_JOB_PARTITION": "gpu",
            "SLURM_NNODES": "1",
            "SLURM_NTASKS": "1",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURMD_NODENAME": "n1",
        }

    def run(
        self,
        template: str = "pretrain",
        trainer: str = "true",
        code: int = 0,
        state: str = "RUNNING",
        **variables: object,
    ) -> subprocess.CompletedProcess:
        """Run a template with one argument; `trainer` is bash that stands for the ranks."""
        given = {
            "TRAINER": trainer,
            "CODE": code,
            "STATE": state,
            "DONE": 0,
            "LOST": 0,
            "END": "N/A",
        }
        given = {**given, "REFUSE": "", **variables}
        self.calls.write_text("")
        return subprocess.run(
            ["bash", str(FOLDER / f"{template}.sbatch"), "tiny.yaml"],
            cwd=self.folder,
            env=self.environment | {name: str(value) for name, value in given.items()},
            capture_output=True,
            text=True,
            timeout=30,
        )

    def asked(self) -> list[str]:
        """What Slurm was asked for, without the ranks."""
        lines = self.calls.read_text().splitlines()
        return [line for line in lines if line.startswith(("requeue", "sbatch"))]

    def status(self) -> str:
        return (self.run_dir / "status").read_text().strip()


def last_words(done: subprocess.CompletedProcess) -> str:
    """The last line, without its time."""
    return re.sub(r"^\[.*?\] job ", "", done.stdout.splitlines()[-1])
