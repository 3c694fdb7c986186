"""From a cluster profile and a template to the script that sbatch gets.

A template is a batch script that works as it is. Rendering replaces its `#SBATCH` lines by those of
the profile, and the line `# settings` by variables and arguments; nothing else changes.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from configs.checks import require, require_visible
from configs.cluster_schema import ClusterConfig
from configs.system.run_names import ARRAY_SCRIPT, JOB_CODE, JOB_LOGS, JOB_SCRIPT
from configs.system.safe_text import visible
from configs.system.secrets import hide, require_none

FOLDER = Path(__file__).parent
SETTINGS = "# settings"
COMMANDS = "commands"


@dataclass(frozen=True)
class Job:
    """One submission: what runs, and where its traces go."""

    template: str
    """name of a file beside this one, without .sbatch"""
    name: str
    """shown by squeue"""
    folder: Path
    """absolute; holds the script, the code and the logs"""
    arguments: list[str]
    """what the script is called with"""
    variables: dict[str, str] = field(default_factory=dict)
    """settings of `common.sh` that belong to this job"""
    array: str | None = None
    """elements, as sbatch writes them"""
    named_by: str = "run_dir"
    """field or option that decides `folder`"""
    commands: str | None = None
    """of an array, for the file `COMMANDS` in its folder"""

    @property
    def script(self) -> Path:
        """The batch script: an array's is not that of the job which waits for it."""
        return self.folder / (ARRAY_SCRIPT if self.array else JOB_SCRIPT)

    @property
    def log_name(self) -> str:
        """As sbatch writes it: the numbers are filled in by Slurm."""
        return "%A_%a.out" if self.array else "%j.out"

    def log(self, number: str) -> Path:
        """Where the job of this number writes; an array has several such files."""
        return self.folder / JOB_LOGS / (f"{number}_*.out" if self.array else f"{number}.out")


def render(job: Job, cluster: ClusterConfig) -> str:
    """The whole batch script.

    Raises:
        InputError: a path that Slurm, or a container, would read as another; a secret in it.
    """
    _check_places(job, cluster)
    template = (FOLDER / f"{job.template}.sbatch").read_text(encoding="utf-8").splitlines()
    body = [line for line in template[1:] if not line.startswith("#SBATCH")]
    place = body.index(SETTINGS)
    body[place : place + 1] = settings(job, cluster)
    script = "\n".join([template[0], *sbatch_lines(job, cluster), *body]) + "\n"
    require_none(script)
    return script


def sbatch_lines(job: Job, cluster: ClusterConfig) -> list[str]:
    """The `#SBATCH` lines: what the job asks Slurm for."""
    limit = f"%{cluster.array_limit}" if cluster.array_limit else ""
    options = {
        "job-name": job.name,
        "chdir": str(Path.cwd()),
        # Of the folder, sbatch is to replace nothing.
        "output": str(job.folder / JOB_LOGS).replace("%", "%%") + f"/{job.log_name}",
        "open-mode": "append",
        "requeue": True,
        "signal": f"B:USR1@{cluster.signal_lead_seconds}",
        "time": cluster.minutes,
        "nodes": cluster.nodes,
        "ntasks-per-node": cluster.ranks_per_node,
        "gpus-per-node": cluster.gpus_per_node or None,
        "cpus-per-task": cluster.cpus_per_task,
        "mem": cluster.memory,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "array": f"{job.array}{limit}" if job.array else None,
    }
    lines = [_option(name, value) for name, value in options.items() if value is not None]
    further = [option.partition("=")[::2] for option in cluster.sbatch_options]
    lines += [_option(name[2:], value or True) for name, value in further]
    return [f"#SBATCH {line}" for line in lines]


def settings(job: Job, cluster: ClusterConfig) -> list[str]:
    """The variables that `common.sh` reads, and the arguments, as lines of bash."""
    variables = {
        "CODE": str(job.folder / JOB_CODE),
        "PYTHON": _interpreter(cluster),
        "SITE": str(Path(cluster.site_environment).resolve()) if cluster.site_environment else "",
        "MAX_RESTARTS": str(cluster.max_restarts),
        "RUN_DIR": "",
        "WORDS": "",
        "IMAGE": cluster.container.image or "",
        "MOUNTS": ",".join([f"{job.folder}:{job.folder}", *cluster.container.mounts]),
        **job.variables,
    }
    # Those that are empty as well: sbatch hands the variables of whoever submits to the job.
    lines = [f"MASKLAB_{name}={shlex.quote(value)}" for name, value in variables.items()]
    typed = visible(hide(shlex.join(sys.argv[1:])))
    return [f"# Filled by: submit.py {typed}", *lines, f"set -- {shlex.join(job.arguments)}"]


def _check_places(job: Job, cluster: ClusterConfig) -> None:
    """Raise `InputError` for a path that cannot reach a job as it is."""
    places = {"the current folder": Path.cwd(), job.named_by: job.folder}
    for name, path in places.items():
        require_visible(name, str(path))
        require(
            "\\" not in str(path),
            f"{name}: {path} holds a backslash, which Slurm takes for something else in names of "
            "folders and logs: choose another folder",
        )
        require(
            not cluster.container.image or not re.search("[:,]", str(path)),
            f"{name}: {path} holds : or , which a container's mounts cannot: choose another folder",
        )
    require_visible("the interpreter", sys.executable)


def _option(name: str, value: object) -> str:
    return f"--{name}" if value is True else f"--{name}={shlex.quote(str(value))}"


def _interpreter(cluster: ClusterConfig) -> str:
    """The profile's `python`, where a folder is a virtual environment; else this very one."""
    if cluster.python:
        chosen = Path(cluster.python).expanduser()
        return str(chosen.absolute() / "bin" / "python") if chosen.is_dir() else cluster.python
    return "python" if cluster.container.image else sys.executable
