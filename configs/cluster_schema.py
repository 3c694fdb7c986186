"""What can be chosen of a SLURM cluster: the profile that `launch/submit.py --cluster` reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Optional

from configs.checks import require, require_visible
from configs.errors import InputError
from configs.system.safe_text import visible

OUR_OPTIONS = (
    *("array", "chdir", "cpus-per-task", "gpus-per-node", "job-name", "mem", "nodes", "ntasks"),
    *("ntasks-per-node", "open-mode", "partition", "account", "qos", "signal", "time"),
    *("begin", "clusters", "dependency", "kill-on-invalid-dep", "no-kill", "no-requeue", "requeue"),
    *("error", "input", "output", "parsable", "quiet", "verbose", "test-only", "wait", "wrap"),
    *("container", "export", "export-file", "get-user-env", "uid", "gid"),
    *("ignore-pbs", "help", "usage", "version"),
)
"""options of sbatch that have a field here, that a job's coming back or its environment depends
on, or that make sbatch do something else than queue the script"""
OTHERS = ("gpus",)
"""options of sbatch whose whole name begins the name of one of ours"""


@dataclass(frozen=True)
class ContainerConfig:
    """A container for the ranks, started by pyxis."""

    image: Optional[str] = None
    """what follows --container-image=, e.g. a .sqsh file; null: no container"""
    mounts: list[str] = field(default_factory=list)
    """folders to mount (host:container), beside the working folder and the job's own folder"""

    def __post_init__(self) -> None:
        _require_form("word", "container.image", self.image)
        for mount in self.mounts:
            _require_form("word", "container.mounts", mount)
            require(
                "," not in mount, f"cluster: container.mounts: '{mount}' is several: make it a list"
            )


@dataclass(frozen=True)
class PreparationConfig:
    """Jobs that prepare a corpus: an array over shards, and one that merges them."""

    shards: int = 16
    """parts that the corpus is cut into, one array element for each"""
    partition: Optional[str] = None
    """where these jobs run, for sites with nodes without GPUs; null: the profile's partition"""
    cpus: int = 8
    """cores of one element"""
    memory: Optional[str] = None
    """memory of one element, e.g. 32G; null: the site's default"""
    minutes: int = 240
    """time limit of one element; one that needs longer resumes where it was stopped"""

    def __post_init__(self) -> None:
        require(self.shards >= 1, f"cluster: prepare.shards={self.shards} must be at least 1")
        require(self.cpus >= 1, f"cluster: prepare.cpus={self.cpus} must be at least 1")
        require(self.minutes >= 1, f"cluster: prepare.minutes={self.minutes} must be at least 1")
        _require_form("name", "prepare.partition", self.partition)
        _require_form("memory", "prepare.memory", self.memory)


@dataclass(frozen=True)
class ClusterConfig:
    """One site, and how much of it a job asks for."""

    OPTION, FOLDER = "--cluster", "clusters"  # for `load_config`

    partition: Optional[str] = None
    """where to queue; null: the site's default"""
    account: Optional[str] = None
    """whom the hours are charged to"""
    qos: Optional[str] = None
    """quality of service, where the site has several"""
    nodes: int = 1
    """machines of one job"""
    gpus_per_node: int = 1
    """GPUs of each machine; 0: ranks on CPUs"""
    tasks_per_node: Optional[int] = None
    """ranks on each machine; null: one for each GPU, or one where there is none"""
    cpus_per_task: int = 8
    """cores of one rank"""
    memory: Optional[str] = None
    """memory of each machine, e.g. 64G; 0: all of it; null: the site's default"""
    minutes: int = 1440
    """time limit of a job; may be shorter than the run, which resumes in the next job"""
    signal_lead_seconds: int = 600
    """how long before its time limit a job gets a signal; more than a step and a checkpoint take"""
    max_restarts: int = 50
    """a job is requeued at most this often; submitting it again restarts the count"""
    array_limit: Optional[int] = None
    """elements of an array that may run at the same time; null: as many as fit"""
    site_environment: Optional[str] = None
    """a file that each job sources first: modules, NCCL_SOCKET_IFNAME, proxies"""
    python: Optional[str] = None
    """interpreter on the nodes, or the folder of a virtual environment; null: the one that runs
    launch/submit.py, or `python` inside a container"""
    sbatch_options: list[str] = field(default_factory=list)
    """further options of sbatch, each as on its command line, e.g. --constraint=h100"""

    container: ContainerConfig = field(default_factory=ContainerConfig)
    prepare: PreparationConfig = field(default_factory=PreparationConfig)

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos"):
            _require_form("name", name, getattr(self, name))
        for name in ("python", "site_environment"):
            _require_form("place", name, getattr(self, name))
        for name in ("nodes", "tasks_per_node", "cpus_per_task", "minutes", "array_limit"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"cluster: {name}={value} must be at least 1")
        for name in ("gpus_per_node", "max_restarts"):
            value = getattr(self, name)
            require(value >= 0, f"cluster: {name}={value} must not be negative")
        _require_form("memory", "memory", self.memory)
        # Slurm checks the clock rarely: a notice may come a minute early.
        require(
            1 <= self.signal_lead_seconds <= 30 * self.minutes,
            f"cluster: signal_lead_seconds={self.signal_lead_seconds} must be between 1 and half "
            f"of the time limit, or a job would be stopped as it begins: raise "
            f"minutes={self.minutes} or lower it",
        )
        for option in self.sbatch_options:
            _check_option(option)

    @property
    def ranks_per_node(self) -> int:
        """Tasks that srun starts on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    def for_preparation(self) -> ClusterConfig:
        """The same site, with what one element of a preparation asks for."""
        own = self.prepare
        return replace(
            self,
            partition=own.partition or self.partition,
            nodes=1,
            gpus_per_node=0,
            tasks_per_node=1,
            cpus_per_task=own.cpus,
            memory=own.memory,
            minutes=own.minutes,
            signal_lead_seconds=min(self.signal_lead_seconds, 30 * own.minutes),
        )


FORMS = {
    # Of a name: lists with commas between them included.
    "name": (
        r"[A-Za-z0-9_][A-Za-z0-9_.,:@+-]*",
        "is no name in Slurm: write letters, digits and _ . , : @ + -, or null",
    ),
    "word": (r"[^\s-]\S*", "must be one word that does not begin with -, or null"),
    "place": (r"[^-].*", "must not begin with - nor be empty: write ./ in front of it, or null"),
    "memory": (
        r"[0-9]+[KMGT]?",
        "is no amount of memory: write e.g. 64G, or 0 for all of a node's",
    ),
}
"""what Slurm and its administrators name: a pattern for all of it, and the cure"""


def _require_form(form: str, name: str, value: Optional[str]) -> None:
    """Raise `InputError` unless a field is null or has the form of this kind (FORMS)."""
    require_visible(f"cluster: {name}", value)
    pattern, cure = FORMS[form]
    fits = value is None or re.fullmatch(pattern, value) is not None
    require(fits, f"cluster: {name}={value} {cure}")


def _check_option(option: str) -> None:
    """One option of sbatch, which is none of ours.

    sbatch takes the beginning of a name for the whole, and reads quotes, backslashes, blanks and #
    in a script's lines; a value that needs none of them cannot become two.
    """
    match = re.fullmatch(r"--([a-z][a-z-]*)(=[^\s\"'\\#`]+)?", option)
    if match is None or not option.isprintable():
        raise InputError(
            f"cluster: sbatch_options: '{visible(option)}' is no long option of one word without "
            "quotes, blanks, # and backslashes: write e.g. --constraint=h100, each option for "
            "itself"
        )
    name = match.group(1)
    ours = [our for our in OUR_OPTIONS if our.startswith(name) and name not in OTHERS]
    require(
        not ours,
        f"cluster: sbatch_options: {option} is set by launch/submit.py or has a field of its own "
        f"(--{', --'.join(ours)}; see --help)",
    )
