"""The job scripts, run with stand-ins for Slurm's commands and for the trainer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs.system.run_lock import take
from launch.slurm.render import FOLDER
from tests.conftest import ROOT
from tests.unit.launch.slurm.fakes import install

SCRIPTS = sorted([*FOLDER.glob("*.sbatch"), *FOLDER.glob("*.sh"), ROOT / "tests/slurm/cluster.sh"])
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


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


def last_words(done: subprocess.CompletedProcess) -> str:
    return re.sub(r"^\[.*?\] job ", "", done.stdout.splitlines()[-1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_every_script_is_bash(script):
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("template", [p for p in SCRIPTS if p.suffix == ".sbatch"], ids=str)
def test_every_template_can_be_filled_and_can_be_queued_by_hand(template):
    lines = template.read_text().splitlines()
    assert lines.count("# settings") == 1
    for option in ("requeue", "open-mode=append", "output=%x-%", "signal=B:USR1@"):
        assert any(line.startswith(f"#SBATCH --{option}") for line in lines), option


def test_a_run_that_ends_by_itself(job):
    done = job.run(trainer=f"{SAVE} echo completed >$RUN/status")
    assert done.returncode == 0, done.stderr
    assert last_words(done) == "7: completed at step 120"
    assert not job.asked()


def test_the_ranks_are_started_with_their_numbers(job):
    done = job.run(trainer='echo "$RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR"')
    assert "0 0 1 1 n1" in done.stdout.splitlines()
    command = job.calls.read_text().splitlines()[0]
    assert command == f"-u {ROOT}/launch/pretrain.py --config tiny.yaml"


def test_what_files_of_others_hold_is_no_command_to_a_terminal(job):
    done = job.run(trainer=r'mkdir -p $RUN; printf "\e]0;x\a\n" >$RUN/status')
    assert "\x1b" not in done.stdout and last_words(done) == "7: ?]0;x? at step 0"
    done = job.run("ablate", MASKLAB_WORDS=job.folder / "a\x1b", SLURM_ARRAY_TASK_ID=1)
    assert "\x1b" not in done.stdout and "there is no command 1 in" in done.stdout


def test_a_run_folder_that_asks_for_a_variable_is_found(job):
    asks = 'case $* in *--print-config) echo "run_dir: run-\\${oc.env:NAME}" ;; esac'
    done = job.run(trainer=asks, MASKLAB_RUN_DIR="", NAME="mine")
    assert f"run folder {job.folder}/run-mine" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("taken", [False, True], ids=["free", "another's"])
def test_compiled_kernels_are_kept_where_nobody_else_writes(job, taken):
    place, trap = job.folder / f"masklab-triton-{os.getuid()}", job.folder / "trap"
    trap.mkdir()
    if taken:
        place.symlink_to(trap)
    done = job.run(
        trainer="echo $TRITON_CACHE_DIR $(stat -c %a $TRITON_CACHE_DIR)", TMPDIR=job.folder
    )
    folder, mode = next(x for x in done.stdout.splitlines() if x.endswith(" 700")).split()
    assert mode == "700"
    assert (Path(folder) == place) is not taken
    assert Path(folder).is_dir() is not taken, "a folder for this start alone goes with it"
    assert not list(trap.iterdir())


def test_a_preempted_run_is_requeued(job):
    done = job.run(trainer=PREEMPTED)
    assert done.returncode == 0, done.stderr
    assert last_words(done) == "7: preempted at step 120 (SIGUSR1), requeued (restart 1 of 50)"
    assert job.asked() == ["requeue 7"]
    assert not (job.run_dir / "REQUEUE").exists() and job.status() == "preempted"


def test_an_element_of_an_array_names_itself(job):
    array = {"SLURM_ARRAY_JOB_ID": 5, "SLURM_ARRAY_TASK_ID": 1}
    done = job.run(trainer=PREEMPTED, **array)
    assert last_words(done).startswith("5_1: preempted")
    assert job.asked() == ["requeue 5_1"]


def test_where_requeueing_is_forbidden_another_job_follows(job):
    done = job.run(trainer=PREEMPTED, REFUSE="Requested operation is disabled")
    assert done.returncode == 0, done.stderr
    assert "requeue refused: Requested operation is disabled" in done.stdout
    assert last_words(done) == "7: job 8 follows (restart 1 of 50)"
    assert "--dependency=afterany:7 --partition=gpu --nodes=2" in job.asked()[1]
    assert job.asked()[1].endswith("tiny.yaml")
    assert (job.run_dir / "job.id").read_text() == "8\n"


def test_restarts_are_counted_and_end(job):
    limit = {"MASKLAB_MAX_RESTARTS": 1}
    assert "restart 1 of 1" in job.run(trainer=PREEMPTED, **limit).stdout
    further = PREEMPTED.replace("120", "130")
    done = job.run(trainer=further, SLURM_RESTART_COUNT=1, **limit)
    assert done.returncode == 1 and not job.asked()
    assert "not requeued after 1 restarts; submit it again to go on" in last_words(done)
    done = job.run(trainer=PREEMPTED.replace("120", "140"), **limit)
    assert job.asked() == ["requeue 7"], "a job that is submitted again counts anew"


@pytest.mark.parametrize("template", ["pretrain", "finetune"])
def test_no_requeue_without_progress_for_the_third_time(job, template):
    idle = "echo preempted >$RUN/status; echo '0 SIGTERM' >$RUN/REQUEUE"
    for count in range(2):
        job.run(template, idle, SLURM_RESTART_COUNT=count)
        assert job.asked() == ["requeue 7"]
    done = job.run(template, idle, SLURM_RESTART_COUNT=2)
    assert done.returncode == 1 and not job.asked()
    assert "the 3. time without progress: not requeued" in last_words(done)


def test_a_start_that_left_before_it_had_a_folder_comes_back_but_not_for_ever(job):
    told = "kill -USR1 $(ps -o ppid= $PPID); sleep 1"
    for count in range(3):
        done = job.run(trainer=told, SLURM_RESTART_COUNT=count)
        assert bool(job.asked()) is (count < 2), done.stdout
    assert "preempted (SIGUSR1), the 3. time without progress" in last_words(done)


def test_finished_trials_are_the_progress_of_fine_tuning(job):
    trial = "mkdir -p $RUN/trials/$SLURM_RESTART_COUNT; touch $RUN/trials/$_/result.json; "
    trial += "echo '9 seed-1, SIGTERM' >$RUN/REQUEUE"
    trial = trial.replace("$_", "$SLURM_RESTART_COUNT")
    for count in range(5):
        done = job.run("finetune", trial, SLURM_RESTART_COUNT=count)
        assert job.asked() == ["requeue 7"], done.stdout
        assert f"at trial {count}:" in done.stdout


def test_slurm_s_own_requeues_end_where_nothing_is_gained(job):
    for count in range(3):
        job.run(code=1, SLURM_RESTART_COUNT=count)
    done = job.run(trainer="touch $RUN/ran", SLURM_RESTART_COUNT=3)
    assert done.returncode == 1 and not (job.run_dir / "ran").exists()
    assert "3 starts in a row began at step 0 and got no further" in last_words(done)
    assert job.status() == "failed"


def test_slurm_s_own_requeue_is_told(job):
    job.run(code=1)
    done = job.run(SLURM_RESTART_COUNT=1)
    assert "Slurm requeued it: a node was lost, or preemption left no time" in done.stdout


def test_a_cancelled_run_stays_cancelled(job):
    done = job.run(trainer=PREEMPTED, state="COMPLETING")
    assert done.returncode == 1 and not job.asked()
    assert "cancelled: not requeued" in last_words(done)
    assert job.status() == "interrupted"


def test_a_run_that_slurm_has_requeued_has_not_failed(job):
    """A node is lost, Slurm knows it before the script does."""
    done = job.run(trainer="echo failed >$RUN/status", code=1, state="PENDING", DONE=1)
    assert done.returncode == 0 and job.status() == "preempted" and not job.asked()


def test_a_rank_that_went_while_all_nodes_stayed_has_failed(job):
    assert job.run(trainer="echo preempted >$RUN/status", code=1).returncode == 1
    assert job.status() == "failed"


def test_what_slurm_has_requeued_is_not_requeued_again(job):
    done = job.run(trainer=PREEMPTED, state="COMPLETING", DONE=1)
    assert done.returncode == 0 and not job.asked()
    assert last_words(done).endswith("requeued by Slurm (restart 1 of 50)")


def test_a_job_whose_time_is_over_comes_back(job):
    job.run(trainer=PREEMPTED, state="COMPLETING", END="2020-01-01T00:00:00")
    assert job.asked() == ["requeue 7"]


def test_a_lost_node_is_not_the_run_s_fault(job):
    done = job.run(trainer=f"{SAVE} echo failed >$RUN/status", code=1, LOST=1)
    assert last_words(done) == "7: lost a node; saved: step 120, requeued (restart 1 of 50)"
    assert job.status() == "preempted"


@pytest.mark.parametrize("code", [1, 2, 137])
def test_a_failure_is_the_job_s_and_is_not_requeued(job, code):
    done = job.run(trainer="echo running >$RUN/status", code=code)
    assert done.returncode == code and not job.asked()
    assert f"failed after step 0 with exit code {code}" in last_words(done)
    assert ("memory" in last_words(done)) == (code == 137)
    assert job.status() == "failed"


def test_a_rank_that_stumbles_on_its_way_out_takes_nothing_back(job):
    done = job.run(trainer=f"{SAVE} echo completed >$RUN/status", code=134)
    assert done.returncode == 0
    assert last_words(done) == "7: completed at step 120, though a rank left with code 134"


def test_an_earlier_job_s_status_says_nothing_about_this_one(job):
    job.run(trainer=f"{SAVE} echo completed >$RUN/status")
    assert job.run(code=2).returncode == 2
    assert job.status() == "failed"


def test_the_trainer_s_word_on_its_failure_stays(job):
    job.run(trainer="echo out-of-memory >$RUN/status", code=1)
    assert job.status() == "out-of-memory"


def test_by_hand_the_configuration_knows_the_run_folder(job):
    job.environment["MASKLAB_RUN_DIR"] = ""
    done = job.run(trainer="""echo "run_dir: 'runs/a: b # c'" """)
    assert f"run folder {job.folder}/runs/a: b # c\n" in done.stdout
    assert job.run(code=2).returncode == 2, "a configuration that is refused"


def test_a_shard_that_was_killed_is_made_again_but_not_for_ever(job):
    array = {"SLURM_ARRAY_JOB_ID": 5, "SLURM_ARRAY_TASK_ID": 3}
    done = job.run("prepare", "kill -KILL $$", **array)
    assert last_words(done) == ("5_3: shard 3 of 4 killed by signal 9, requeued (restart 1 of 50)")
    assert job.asked() == ["requeue 5_3"]
    done = job.run("prepare", "kill -KILL $$", SLURM_RESTART_COUNT=3, **array)
    assert done.returncode == 137 and not job.asked()


def test_a_merge_has_no_shard(job):
    done = job.run("prepare")
    assert last_words(done) == "7: merge of 4 shards done"
    assert job.calls.read_text().strip().endswith("--config tiny.yaml --num-shards 4")


GRID = """# seeds

python launch/pretrain.py --config a run_dir=runs/a
launch/finetune.py --config "b $(touch canary)" 'x=`touch canary`; touch canary' run_dir="b # c"
"""


def test_by_hand_an_element_runs_the_command_of_its_number_and_evaluates_nothing(job):
    """Comments and empty lines are not counted: as launch/submit.py does."""
    job.environment["MASKLAB_RUN_DIR"] = "/nowhere/left/by/another/job"
    (job.folder / "tiny.yaml").write_text(GRID)
    told = """echo "run_dir: 'b # c'" """
    done = job.run("ablate", told, SLURM_ARRAY_JOB_ID=5, SLURM_ARRAY_TASK_ID=2)
    assert done.returncode == 0, done.stderr
    assert f"at trial 0: 1 ranks on n1, run folder {job.folder}/b # c" in done.stdout
    words = "--config b $(touch canary) x=`touch canary`; touch canary run_dir=b # c"
    assert f"-u {ROOT}/launch/finetune.py {words}\n" in job.calls.read_text()
    assert not list(job.folder.rglob("canary"))


@pytest.mark.parametrize(
    "text, said",
    [
        ("launch/pretrain.py --config a\n" * 2, "holds 2 commands"),
        ("touch canary\n" * 3, "no command of a grid"),
        ("\n\n" + "launch/pretrain.py --config 'a\nlaunch/pretrain.py --config b'", "quotation"),
        ("launch/pretrain.py --config a x=\x1b[2J\n" * 3, "x1b"),
    ],
)
def test_by_hand_a_command_that_is_none_is_refused_in_one_line(job, text, said):
    (job.folder / "tiny.yaml").write_text(text)
    done = job.run("ablate", SLURM_ARRAY_JOB_ID=5, SLURM_ARRAY_TASK_ID=3)
    assert done.returncode == 2 and "there is no command 3 in tiny.yaml" in done.stdout
    assert done.stderr.startswith("error: tiny.yaml") and done.stderr.count("\n") == 1
    assert said in done.stderr and not job.calls.read_text()


def test_what_a_submission_leaves_is_run_word_by_word(job):
    words = ["launch/finetune.py", "--config", "a b'; touch canary #/job.yaml"]
    line = "".join(f"{word}\0" for word in [f"{job.folder}/a $(id)", *words]) + "\n"
    (job.folder / "words").write_text(line * 2)
    array = {"SLURM_ARRAY_JOB_ID": 5, "SLURM_ARRAY_TASK_ID": 2}
    done = job.run("ablate", MASKLAB_WORDS=job.folder / "words", **array)
    assert done.returncode == 0, done.stderr
    assert f"run folder {job.folder}/a $(id)\n" in done.stdout
    assert job.calls.read_text() == f"-u {ROOT}/{' '.join(words)}\n"
    assert not list(job.folder.rglob("canary"))


def test_an_exit_code_that_is_no_number_is_not_evaluated(job):
    canary = job.folder / "canary"
    write = f"echo 'a[$(touch {canary})]' >$MASKLAB_EXIT_CODE"
    assert job.run(trainer=write, code=1).returncode == 1
    assert not canary.exists()


def test_a_folder_that_another_run_has_is_left_as_it_is(job):
    lock = take(job.run_dir)
    (job.run_dir / "status").write_text("running\n")
    (job.run_dir / "starts").write_text("0 6 yesterday\n")
    before = {path: path.read_bytes() for path in job.run_dir.iterdir()}
    done = job.run()
    assert done.returncode == 2, done.stderr
    assert f"another process works on {job.run_dir}: " in last_words(done)
    assert last_words(done).endswith(f",pid {os.getpid()},since {lock.holder.since}")
    assert {path: path.read_bytes() for path in job.run_dir.iterdir()} == before
    assert not job.asked()
    lock.release()


def test_a_requeued_job_waits_for_the_lock_of_a_lost_node(job):
    job.run_dir.mkdir()
    (job.run_dir / "lock").touch()
    with subprocess.Popen(["flock", str(job.run_dir / "lock"), "sleep", "4"]):
        done = job.run(trainer="echo completed >$RUN/status", SLURM_RESTART_COUNT=1)
    assert done.returncode == 0, done.stderr
    assert "waiting up to 180 s for the lock" in done.stdout
    assert job.status() == "completed"
