"""On a real Slurm of two nodes: what happens to a job, and that it does not show in the weights.

`python -m tests.slurm.trial_by_fire` does more, in a quarter of an hour.
"""

from __future__ import annotations

import pytest

from tests.slurm.cluster import (
    log,
    status,
    step_of_metrics,
    wait_for,
    weights_hash,
    words,
    write_profile,
)

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.mark.parametrize("nodes, lost", [(2, 1), (2, 2), (1, 0)])
def test_a_run_whose_node_is_lost_is_not_called_failed_while_it_is_queued(
    cluster, tiny, tmp_path, nodes, lost
):
    """The first node takes the job's script along; the only one takes all that could tell."""
    run = ("--config", tiny, "--cluster", write_profile(tmp_path), f"cluster.nodes={nodes}")
    run += ("schedule.max_steps=400", "checkpoint.every_steps=20", "evaluation.every_steps=1000")
    run_dir = tmp_path / "runs" / "hurt"
    job = cluster.submit(*run, f"run_dir={run_dir}", cwd=tmp_path)
    wait_for(lambda: step_of_metrics(run_dir) >= 25, 300, "step 25")
    where = cluster.run("squeue", "--noheader", "--format=%B", f"--jobs={job}").stdout.strip()
    lost = lost or int(where.removeprefix(cluster.prefix))
    cluster.control("kill-node", str(lost))
    cluster.wait_for_state(job, "PENDING", 150)
    left = status(run_dir)
    cluster.control("start-node", str(lost))
    wait_for(lambda: "restart 1 of 50 at step" in log(run_dir), 120, "the next start")
    wait_for(lambda: status(run_dir) == "running", 240, "a run that continues")
    cluster.run("scancel", job)
    assert left in (("preempted", "pending") if nodes == 2 else ("running", "pending"))


def test_a_preempted_run_ends_with_the_weights_of_an_undisturbed_one(cluster, tiny, tmp_path):
    """Two runs of four ranks on two nodes at the same time; one is told to leave on its way."""
    run = ("--config", tiny, "--cluster", write_profile(tmp_path), "schedule.max_steps=40")
    run += ("evaluation.every_steps=1000", "checkpoint.every_steps=1000")
    calm, hurt = tmp_path / "runs" / "calm", tmp_path / "runs" / "hurt"
    jobs = [cluster.submit(*run, f"run_dir=runs/{r.name}", cwd=tmp_path) for r in (hurt, calm)]
    wait_for(lambda: step_of_metrics(hurt) >= 5, 240, "step 5")
    cluster.run("scancel", "--batch", "--signal=USR1", jobs[0])
    for job in jobs:
        assert cluster.wait_for_state(job, "COMPLETED|FAILED", 300) == "COMPLETED", words(hurt)
    start, told, left, again, end = words(hurt)
    assert start.startswith("start at step 0: 4 ranks on ")
    assert told == "got SIGUSR1: asking the ranks to save and leave"
    step = int(left.split()[3])
    assert 5 <= step < 40
    assert left == f"preempted at step {step} (SIGUSR1), requeued (restart 1 of 50)"
    assert again.startswith(f"restart 1 of 50 at step {step}: 4 ranks")
    assert end == "completed at step 40"
    assert status(hurt) == status(calm) == "completed"
    assert weights_hash(hurt) == weights_hash(calm)
