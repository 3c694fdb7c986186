"""The test cluster, from Python: start it, submit to it, hurt it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from configs.system.files import sha256_file
from tests.conftest import OF_A_RANK, ROOT

SCRIPT = ROOT / "tests" / "slurm" / "cluster.sh"
PROFILE = """
partition: {partition}
nodes: 2
gpus_per_node: 0
tasks_per_node: 2
cpus_per_task: 1
minutes: 10
signal_lead_seconds: 60
prepare: {{shards: 8, cpus: 1, minutes: 10}}
"""
"""two ranks on each of two nodes"""


class Cluster:
    """A Slurm of two nodes in a folder of its own."""

    def __init__(self) -> None:
        # Its daemons want a short path that everyone may enter; pytest's are neither.
        self.folder = Path(tempfile.mkdtemp(prefix="masklab-slurm-"))
        self.folder.chmod(0o755)
        # Several may live on one machine.
        number = os.getpid() % 1000
        self.prefix = f"t{number}n"
        self.environment = {k: v for k, v in os.environ.items() if k not in OF_A_RANK}
        self.environment |= {
            "CLUSTER_DIR": str(self.folder),
            "CLUSTER_PREFIX": self.prefix,
            "CLUSTER_PORT": str(10000 + 10 * number),
            "CLUSTER_NET": f"10.231.{number % 250}",
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "OMP_NUM_THREADS": "1",
        }

    def control(self, *words: str) -> None:
        """`up`, `down`, `kill-node N` or `start-node N`; raises RuntimeError with what it said."""
        done = subprocess.run(
            [str(SCRIPT), *words], env=self.environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"cluster.sh {words[0]} failed")

    def run(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        """One of Slurm's commands, or any other that should see this cluster."""
        return subprocess.run(
            [*map(str, words)], cwd=cwd, env=self.environment, capture_output=True, text=True
        )

    def submit(self, *words: object, cwd: Path) -> str:
        """launch/submit.py with these arguments; the id of the first job."""
        done = self.run(sys.executable, ROOT / "launch" / "submit.py", *words, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return re.search(r"^job +(\d+)", done.stdout, re.MULTILINE).group(1)

    def state(self, job: str) -> str:
        """Slurm's word for a job (RUNNING, PENDING, COMPLETED, ...); of an array, for each
        element."""
        done = self.run("scontrol", "show", "job", "-o", job)
        return " ".join(re.findall(r"JobState=(\w+)", done.stdout))

    def wait_for_state(self, job: str, pattern: str, seconds: float = 300) -> str:
        """Until the state of a job is one of `pattern`, a regular expression."""
        wait_for(lambda: re.fullmatch(pattern, self.state(job)), seconds, f"{pattern} of job {job}")
        return self.state(job)


def missing_requirement() -> str | None:
    """Why there can be no test cluster on this machine; None where there can."""
    if not sys.platform.startswith("linux"):
        return "Slurm runs on Linux"
    if os.geteuid() != 0:
        return "the test cluster needs root"
    if not (shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin")) and not (
        shutil.which("apt-get")
    ):
        return "no Slurm on this machine, and no apt-get to install it with"
    return None


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Until `condition()` is true; asserts that it becomes so in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


def write_profile(folder: Path, partition: str = "main") -> Path:
    """A cluster profile of two nodes with two ranks each."""
    path = folder / f"{partition}.yaml"
    path.write_text(PROFILE.format(partition=partition), encoding="utf-8")
    return path


def status(run_dir: Path) -> str:
    path = run_dir / "status"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def log(run_dir: Path) -> str:
    """Everything that the jobs of a run folder wrote."""
    return "".join(p.read_text(errors="replace") for p in sorted((run_dir / "logs").glob("*.out")))


def words(run_dir: Path) -> list[str]:
    """What the job scripts, not the ranks, said: without date and number."""
    return re.findall(r"^\[[-: \d]+\] job [\d_]+: (.*)$", log(run_dir), re.MULTILINE)


def step_of_metrics(run_dir: Path) -> int:
    """The last step that was logged; 0 before the first."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    steps = [json.loads(line)["step"] for line in lines if line.endswith("}")]
    return max(steps, default=0)


def weights_hash(run_dir: Path) -> str:
    """sha256 of the last checkpoint's weights."""
    return sha256_file(max((run_dir / "checkpoints").glob("step-*")) / "model.safetensors")
