"""Hostile values in every field that reaches a job script: `python tests/slurm/fuzz_scripts.py`.

Each value either arrives on the node byte for byte, or is refused in one line before anything is
written. On the nodes a recorder stands for the interpreter; a program called `canary`, which most
values try to start, must never run. Needs root and Debian for a real Slurm; `--fake` does with
stand-ins. `--count 300 --seed 0` takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.slurm.cluster import Cluster, missing_requirement, wait_for
from tests.slurm.scripts_case import take_over_snapshots
from tests.slurm.scripts_cases import FIELDS
from tests.unit.launch.slurm.fakes import install

RECORDER = """#!{python} -SE
import json, os, sys
if "--print-config" in sys.argv:
    print("run_dir: " + json.dumps(os.environ["FUZZ_RUN_DIR"]))
elif sys.argv[1] == "-c" or sys.argv[1].endswith("/command_words.py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
else:
    seen = dict(argv=sys.argv, cwd=os.getcwd(), env=dict(os.environ))
    json.dump(seen, open(os.environ["FUZZ_FOLDER"] + "/record.json", "w"))
"""
SRUN = """
printf '%s\\0' "$@" >"$FUZZ_FOLDER/srun"
options=()
while [[ $1 == -* ]]; do [[ $1 == --container-* ]] || options+=("$1"); shift; done
"""
FAKES = {
    "srun": f'{SRUN}export SLURM_PROCID=0 SLURM_LOCALID=0; exec "$@"',
    "squeue": ":",
    "scontrol": '[ "$2" != hostnames ] || echo n1',
    "sbatch": """
while [[ $1 == --* ]]; do [[ $1 != --array=* ]] || export SLURM_ARRAY_JOB_ID=7; shift; done
! grep -q '^#SBATCH --array' "$1" || export SLURM_ARRAY_JOB_ID=7
export SLURM_JOB_ID=7 SLURM_JOB_NUM_NODES=1 SLURM_NNODES=1 SLURM_NTASKS=1 SLURMD_NODENAME=n1
export SLURM_ARRAY_TASK_ID=${FUZZ_ELEMENT:-1} SLURM_JOB_NODELIST=n1 SLURM_SUBMIT_DIR=$PWD
bash -n "$1" && bash "$@" >"$FUZZ_FOLDER/log" 2>&1
echo 7""",
}


def main() -> None:
    """Make the cases, submit them, wait, compare; exit code 1 if one went wrong."""
    parser = argparse.ArgumentParser(prog="fuzz_scripts.py", description=__doc__)
    parser.add_argument("--count", type=int, default=300, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(FIELDS), help="values of this field")
    parser.add_argument("--fake", action="store_true", help="no Slurm: stand-ins run the scripts")
    parser.add_argument("--verbose", action="store_true", help="show every case")
    arguments = parser.parse_args()
    reason = None if arguments.fake else missing_requirement()
    if reason:
        sys.exit(reason)
    place = Path(tempfile.mkdtemp(prefix="fuzz-scripts-"))
    cluster = None if arguments.fake else Cluster()
    try:
        if cluster:
            cluster.environment["CLUSTER_CPUS"] = "16"
            cluster.control("up")
        faults = fuzz(place, cluster, arguments)
    finally:
        if cluster:
            cluster.control("down")
        shutil.rmtree(place)
    raise SystemExit(1 if faults else 0)


def fuzz(place: Path, cluster: Cluster | None, arguments: argparse.Namespace) -> int:
    """Run all cases in folders below `place`; returns the number of faults."""
    prepare(place, cluster)
    began, fields = time.monotonic(), [arguments.only] if arguments.only else list(FIELDS)
    cases = []
    for number in range(arguments.count):
        field = fields[number % len(fields)]
        folder = place / f"{number:04d}"
        folder.mkdir()
        rng = random.Random(f"{arguments.seed} {number} {field}")
        cases.append(FIELDS[field](field, folder, place, rng))
        cases[-1].submit()
    if cluster:
        wait_for(lambda: not cluster.run("squeue", "--noheader").stdout, 900, "the end of all jobs")
    faults = 0
    for number, case in enumerate(cases):
        fault = case.fault(real=cluster is not None)
        faults += fault is not None
        if fault or arguments.verbose:
            print(f"{number} {case.field} {case.value!a}: {fault or case.ending}", flush=True)
    canaries = [path.read_text() for path in (place / "canaries").iterdir()]
    print(*[f"evaluated in {folder.strip()}" for folder in canaries], sep="\n", end="")
    arrived = sum(case.ending == "arrived" for case in cases)
    print(f"{len(cases)} values: {arrived} arrived, {len(cases) - arrived} refused, ", end="")
    print(f"{len(canaries)} evaluated, {faults} faults, {time.monotonic() - began:.0f} s")
    return faults + len(canaries)


def prepare(place: Path, cluster: Cluster | None) -> None:
    """Programs, and the environment in which all is submitted."""
    place.chmod(0o755)
    (place / "canaries").mkdir()
    fakes = (
        FAKES
        if cluster is None
        else {"srun": f'{SRUN}exec {shutil.which("srun")} "${{options[@]}}" "$@"'}
    )
    canary = f'echo "$FUZZ_FOLDER" >{place}/canaries/$$'
    path = install(place / "bin", canary=canary, **fakes)
    recorder = place / "recorder"
    recorder.write_text(RECORDER.format(python=sys.executable), encoding="utf-8")
    recorder.chmod(0o755)
    os.environ.update(cluster.environment if cluster else {})
    os.environ["PATH"] = path
    take_over_snapshots()


if __name__ == "__main__":
    main()
