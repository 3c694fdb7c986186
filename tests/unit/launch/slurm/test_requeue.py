"""Which jobs come back, how often, and who is asked for it."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.launch.slurm.job import PREEMPTED, SAVE, last_words


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
    assert "not requeued after 1 restarts; submit it again to continue" in last_words(done)
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


def test_checkpoints_of_a_trial_are_progress_as_well(job):
    trial = "mkdir -p $RUN/trials/seed=0/checkpoints/step-0000000$((SLURM_RESTART_COUNT + 1)); "
    trial += "echo preempted >$RUN/status; echo '9 SIGTERM' >$RUN/REQUEUE"
    for count in range(5):
        done = job.run("finetune", trial, SLURM_RESTART_COUNT=count)
        assert job.asked() == ["requeue 7"], done.stdout
        assert "at trial 0:" in done.stdout


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


def test_a_shard_that_was_killed_is_made_again_but_not_for_ever(job):
    array = {"SLURM_ARRAY_JOB_ID": 5, "SLURM_ARRAY_TASK_ID": 3}
    done = job.run("prepare", "kill -KILL $$", **array)
    assert last_words(done) == ("5_3: shard 3 of 4 killed by signal 9, requeued (restart 1 of 50)")
    assert job.asked() == ["requeue 5_3"]
    done = job.run("prepare", "kill -KILL $$", SLURM_RESTART_COUNT=3, **array)
    assert done.returncode == 137 and not job.asked()


def test_a_requeued_job_waits_for_the_lock_of_a_lost_node(job):
    job.run_dir.mkdir()
    (job.run_dir / "lock").touch()
    with subprocess.Popen(["flock", str(job.run_dir / "lock"), "sleep", "4"]):
        done = job.run(trainer="echo completed >$RUN/status", SLURM_RESTART_COUNT=1)
    assert done.returncode == 0, done.stderr
    assert "waiting up to 180 s for the lock" in done.stdout
    assert job.status() == "completed"
