"""The job scripts: how they start the ranks, and what they make of the ranks' end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from configs.system.run_lock import take
from launch.slurm.render import FOLDER
from tests.conftest import ROOT
from tests.unit.launch.slurm.job import SAVE, last_words

SCRIPTS = sorted([*FOLDER.glob("*.sbatch"), *FOLDER.glob("*.sh"), ROOT / "tests/slurm/cluster.sh"])


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
    said = "echo $TORCHINDUCTOR_CACHE_DIR $TRITON_CACHE_DIR $(stat -c %a $TRITON_CACHE_DIR)"
    # Empty, as torch itself sets the name in a process that has compiled something.
    done = job.run(trainer=said, TMPDIR=job.folder, TORCHINDUCTOR_CACHE_DIR="")
    graphs, folder, mode = next(x for x in done.stdout.splitlines() if x.endswith(" 700")).split()
    assert mode == "700" and graphs == f"{folder}/inductor"
    assert (Path(folder) == place) is not taken
    assert Path(folder).is_dir() is not taken, "a folder for this start alone goes with it"
    assert not list(trap.iterdir())


def test_a_rank_that_went_while_all_nodes_stayed_has_failed(job):
    assert job.run(trainer="echo preempted >$RUN/status", code=1).returncode == 1
    assert job.status() == "failed"


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


def test_a_merge_has_no_shard(job):
    done = job.run("prepare")
    assert last_words(done) == "7: merge of 4 shards done"
    assert job.calls.read_text().strip().endswith("--config tiny.yaml --num-shards 4")


@pytest.mark.parametrize("code", [0, 1])
def test_a_self_check_has_a_folder_for_each_node(job, code):
    done = job.run("selfcheck", code=code)
    command = f"-u {ROOT}/launch/selfcheck.py --output {job.folder}/runs/selfcheck/n1 tiny.yaml"
    assert job.calls.read_text().strip() == command
    assert done.returncode == code and not job.asked()
    said = "passed on 1 node(s)" if code == 0 else "with exit code 1: see runs/selfcheck/NODE"
    assert said in last_words(done)


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
