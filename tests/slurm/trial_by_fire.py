"""Everything that a cluster does to a job, on a real Slurm: `python -m tests.slurm.trial_by_fire`.

One run after another, each of four ranks on two nodes, is hurt in its own way; each must end
completed, with the weights of a run that nobody disturbed. Takes about 15 minutes on two cores and
prints a table. `--only NAME ...` runs some of the trials.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

from configs.system.files import sha256_file
from tests.conftest import ROOT, TINY_YAML
from tests.finetuning import write_task
from tests.slurm.cluster import (
    Cluster,
    missing_requirement,
    status,
    step_of_metrics,
    wait_for,
    weights_hash,
    words,
    write_profile,
)

STEPS = 400
HURT_AT = 60
FIELDS = (f"schedule.max_steps={STEPS}", "checkpoint.every_steps=20", "evaluation.every_steps=1000")
PYTHON = sys.executable
PARTITION = {"preemption": "preempt"}
"""main, where not named here"""
LONG = "schedule.max_steps=1500"


@dataclass
class Trial:
    """One run, and the cluster it runs on."""

    cluster: Cluster
    folder: Path
    name: str

    @property
    def run_dir(self) -> Path:
        return self.folder / "runs" / self.name.replace(" ", "-")

    @property
    def job(self) -> str:
        return (self.run_dir / "job.id").read_text(encoding="utf-8").strip()

    def submit(self, *more: str) -> None:
        profile = write_profile(self.folder, PARTITION.get(self.name, "main"))
        own = (*FIELDS, f"run_dir={self.run_dir}", *more)
        self.cluster.submit("--config", "tiny.yaml", "--cluster", profile, *own, cwd=self.folder)

    def wait_for_step(self, step: int) -> None:
        wait_for(lambda: step_of_metrics(self.run_dir) >= step, 240, f"step {step} of {self.name}")

    def wait_for_end(self) -> str:
        return self.cluster.wait_for_state(self.job, "COMPLETED|FAILED|CANCELLED", 600)


def nothing(trial: Trial) -> None:
    """The others are compared with this one."""


def notice(trial: Trial) -> None:
    """What Slurm sends before a time limit."""
    trial.cluster.run("scancel", "--batch", "--signal=USR1", trial.job)


def requeue(trial: Trial) -> None:
    trial.cluster.run("scontrol", "requeue", trial.job)


def preempt(trial: Trial) -> None:
    """A job of a higher partition takes both nodes for a while."""
    options = ("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null")
    trial.cluster.run("sbatch", *options, "--wrap=sleep 5", cwd=trial.folder)


def cut_power(trial: Trial, number: int) -> None:
    """A node is gone; it is on again when Slurm has seen that."""
    trial.cluster.control("kill-node", str(number))
    trial.cluster.wait_for_state(trial.job, "PENDING", 120)
    trial.cluster.control("start-node", str(number))


def cut_power_of_the_last(trial: Trial) -> None:
    cut_power(trial, 2)


def cut_power_of_the_first(trial: Trial) -> None:
    """On the first node the job script itself runs."""
    cut_power(trial, 1)


def kill_process(pattern: str) -> None:
    """SIGKILL to a Python process whose command line fits the pattern; all nodes are in view."""
    command = ["pgrep", "-f", f"^{re.escape(PYTHON)} -u .*{pattern}"]
    pids = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["kill", "-KILL", pids[-1]], check=True)


def kill_rank(trial: Trial) -> None:
    """Not requeued: a fault of the run would come again. Submitted again, it resumes."""
    kill_process(f"pretrain.py .*{re.escape(str(trial.run_dir))}/")
    assert trial.wait_for_end() == "FAILED" and status(trial.run_dir) == "failed"
    trial.submit()


def cancel(trial: Trial) -> None:
    trial.cluster.run("scancel", trial.job)
    assert trial.wait_for_end() == "CANCELLED"
    wait_for(lambda: status(trial.run_dir) == "interrupted", 30, "the status of a cancelled run")
    trial.submit()


TRIALS: dict[str, Callable[[Trial], None]] = {
    "undisturbed": nothing,
    "notice": notice,
    "requeue": requeue,
    "preemption": preempt,
    "power cut, node 2": cut_power_of_the_last,
    "power cut, node 1": cut_power_of_the_first,
    "killed rank": kill_rank,
    "cancelled": cancel,
}


def hurt(trial: Trial) -> list[str]:
    """Run one trial; returns what it said."""
    trial.submit()
    if TRIALS[trial.name] is not nothing:
        trial.wait_for_step(HURT_AT)
        TRIALS[trial.name](trial)
    assert trial.wait_for_end() == "COMPLETED", trial.run_dir
    assert status(trial.run_dir) == "completed"
    said = words(trial.run_dir)
    assert trial.name == "undisturbed" or len(said) > 2, "it was over before it could be hurt"
    return said


def time_limit(trial: Trial) -> list[str]:
    """A real limit, of two minutes. Slurm looks at the clock twice a minute: the run is longer."""
    calm = Trial(trial.cluster, trial.folder, "no time limit")
    calm.submit(LONG)
    trial.submit(LONG, "cluster.minutes=2", "cluster.signal_lead_seconds=20")
    for run in (calm, trial):
        assert run.wait_for_end() == "COMPLETED", run.run_dir
    assert len(words(trial.run_dir)) > 2, "it was over before its limit"
    assert weights_hash(trial.run_dir) == weights_hash(calm.run_dir), "other weights"
    return [*words(trial.run_dir), "weights equal to those of a run without limit"]


def hostfile(trial: Trial) -> list[str]:
    """DeepSpeed's own launcher with a hostfile: the same command on every node, and no ssh."""
    nodes = [f"{trial.cluster.prefix}{number}" for number in (1, 2)]
    hosts = trial.folder / "hosts"
    hosts.write_text("".join(f"{node} slots=2\n" for node in nodes), encoding="utf-8")
    launcher = Path(PYTHON).with_name("deepspeed")
    command = (
        f"{launcher} --hostfile {hosts} --no_ssh --node_rank $SLURM_NODEID "
        f"--master_addr {nodes[0]} --master_port 29400 "
        f"{ROOT}/launch/pretrain.py --config tiny.yaml {' '.join(FIELDS)} run_dir={trial.run_dir}"
    )
    done = trial.cluster.run(
        *("srun", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2"),
        *("bash", "-c", command),
        cwd=trial.folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert status(trial.run_dir) == "completed"
    return [f"deepspeed --hostfile on {' and '.join(nodes)}: completed"]


def preparation(trial: Trial) -> list[str]:
    """Eight shards, one of them killed at work, and the merge: the store of one process alone."""
    profile = write_profile(trial.folder)
    sharded, alone = (f"data.cache={trial.folder}/{name}" for name in ("sharded", "alone"))
    trial.cluster.submit(
        *("--job", "prepare", "--config", "large.yaml", "--cluster", profile),
        *("cluster.array_limit=4", f"run_dir={trial.run_dir}", sharded),
        cwd=trial.folder,
    )
    folder = trial.run_dir / "prepare"
    wait_for(lambda: "shard 3 of 8 on" in " ".join(words(folder)), 120, "shard 3")
    time.sleep(3)
    kill_process(f"{re.escape(str(trial.run_dir))}.*--shard 3$")
    merge = (folder / "job.id").read_text(encoding="utf-8").strip().split(",")[1]
    assert trial.cluster.wait_for_state(merge, "COMPLETED|FAILED|CANCELLED", 600) == "COMPLETED"
    prepare = ROOT / "launch" / "prepare.py"
    done = trial.cluster.run(PYTHON, prepare, "--config", "large.yaml", alone, cwd=trial.folder)
    assert done.returncode == 0, done.stderr
    hashes = [
        {sha256_file(p) for p in (trial.folder / name).rglob("manifest.json")}
        for name in ("sharded", "alone")
    ]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 1, hashes
    said = words(folder)
    killed = [line for line in said if line.startswith("shard 3 of 8")]
    made = sum(bool(re.fullmatch(r"shard \d of 8 done", line)) for line in said)
    return [*killed, f"{made} shards done", said[-1], "manifest equal to that of one process"]


def grid(trial: Trial) -> list[str]:
    """Three runs as an array, one of which is cancelled; `--only failed` queues that one again."""
    line = "launch/pretrain.py --config tiny.yaml schedule.max_steps={} run_dir=runs/grid-{}\n"
    commands = trial.folder / "grid.txt"
    commands.write_text(line.format(5, 1) + line.format(2000, 2) + line.format(5, 3))
    words_ = ("--job", "commands", "--config", "grid.txt", "--cluster", write_profile(trial.folder))
    words_ += ("cluster.nodes=1", "cluster.tasks_per_node=1")
    job = trial.cluster.submit(*words_, cwd=trial.folder)
    second = trial.folder / "runs" / "grid-2"
    wait_for(lambda: step_of_metrics(second) >= 5, 120, "step 5 of the second run")
    trial.cluster.run("scancel", f"{job}_2")
    wait_for(lambda: "RUNNING" not in trial.cluster.state(job), 120, "the end of the array")
    time.sleep(2)
    commands.write_text(line.format(5, 1) + line.format(40, 2) + line.format(5, 3))
    again = trial.cluster.submit(*words_, "--only", "failed", cwd=trial.folder)
    elements = trial.cluster.run("scontrol", "show", "job", again).stdout.count("ArrayTaskId=")
    wait_for(lambda: trial.cluster.state(again) == "COMPLETED", 200, "the second array")
    runs = [trial.folder / "runs" / f"grid-{n}" for n in (1, 2, 3)]
    assert [status(run) for run in runs] == ["completed"] * 3 and elements == 1
    return words(trial.folder / "runs" / "grid.grid")


def fine_tuning(trial: Trial) -> list[str]:
    """A trial that is interrupted begins anew, and predicts what an undisturbed one does."""
    model = Trial(trial.cluster, trial.folder, "undisturbed").run_dir
    assert (model / "export").is_dir(), "needs the trial `undisturbed` before it"
    task = write_task(trial.folder, model)
    runs = {name: trial.run_dir.with_name(f"{trial.name}-{name}") for name in ("calm", "hurt")}
    jobs = {
        name: trial.cluster.submit(
            *("--job", "finetune", "--config", task, f"run_dir={run_dir}", "cluster.nodes=1"),
            *("--cluster", write_profile(trial.folder), "schedule.max_epochs=40"),
            cwd=trial.folder,
        )
        for name, run_dir in runs.items()
    }
    wait_for(lambda: list(runs["hurt"].glob("trials/*/metrics.jsonl")), 120, "the first steps")
    trial.cluster.run("scancel", "--batch", "--signal=USR1", jobs["hurt"])
    for name, job in jobs.items():
        state = trial.cluster.wait_for_state(job, "COMPLETED|FAILED", 300)
        assert state == "COMPLETED" and status(runs[name]) == "completed", name
    predictions = {(run_dir / "predictions.csv").read_bytes() for run_dir in runs.values()}
    assert len(predictions) == 1, "other predictions"
    return [*words(runs["hurt"]), "predictions equal to those of the undisturbed one"]


SPECIAL: dict[str, Callable[[Trial], list[str]]] = {
    "time limit": time_limit,
    "hostfile": hostfile,
    "preparation": preparation,
    "grid": grid,
    "fine-tuning": fine_tuning,
}


def write_inputs(folder: Path) -> None:
    """tiny.yaml, which trains in seconds, and large.yaml, whose preparation takes a while."""
    text = "\n\n".join(topic.replace("\n\n", "\n") for topic in topics.values())
    (folder / "tiny").mkdir()
    (folder / "tiny" / "topics.txt").write_text(text, encoding="utf-8")
    (folder / "large").mkdir()
    for number in range(32):
        other = text.replace(" the ", f" the {number} ")
        (folder / "large" / f"{number:02}.txt").write_text(other, encoding="utf-8")
    for name in ("tiny", "large"):
        yaml = TINY_YAML.format(text=folder / name, cache=folder / "cache")
        (folder / f"{name}.yaml").write_text(yaml, encoding="utf-8")


def run_trials(cluster: Cluster, folder: Path, names: list[str]) -> bool:
    """All trials by name, and a line on each as it ends; returns whether all went well."""
    expected, good = None, True
    for name in names:
        trial, began = Trial(cluster, folder, name), time.monotonic()
        try:
            said = SPECIAL[name](trial) if name in SPECIAL else hurt(trial)
            verdict = "as it should"
            if name in TRIALS or name == "hostfile":
                expected = expected or weights_hash(trial.run_dir)
                same = weights_hash(trial.run_dir) == expected
                verdict = "same weights" if same else "OTHER WEIGHTS"
                good &= same
        except (AssertionError, OSError, subprocess.CalledProcessError) as error:
            said, verdict, good = words(trial.run_dir), f"FAILED: {error!r}", False
        print(f"| {name} | {verdict} | {time.monotonic() - began:.0f} s |", flush=True)
        print(*[f"    {line}" for line in said], sep="\n", flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = [*TRIALS, *SPECIAL]
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="NAME")
    names = parser.parse_args().only
    reason = missing_requirement()
    if reason:
        sys.exit(reason)
    cluster = Cluster()
    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        write_inputs(Path(folder))
        try:
            cluster.control("up")
            good = run_trials(cluster, Path(folder), names)
        finally:
            cluster.control("down")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
