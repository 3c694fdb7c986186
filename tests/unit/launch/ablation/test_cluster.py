"""--submit slurm: what can be started becomes an array, by a stand-in for sbatch."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import PretrainConfig
from launch.ablation.launcher import train_on_cluster
from tests.unit.launch.ablation.example_runs import find, finish, make_grid
from tests.unit.launch.slurm.fakes import install


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A grid with a task, where sbatch answers 101 and the queue holds $QUEUED."""
    path = install(tmp_path / "bin", sbatch="echo 101", squeue='echo "$QUEUED"')
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("QUEUED", "")
    monkeypatch.chdir(tmp_path)
    return make_grid(tmp_path, tasks=[{"config": "finetune/sst2.yaml"}])


def commands(tmp_path) -> list[str]:
    return (tmp_path / "runs" / "grid-tiny.grid" / "commands").read_text().splitlines()


def test_what_can_be_started_is_queued_as_an_array(grid, tmp_path):
    finish(find(grid, "static"))
    train_on_cluster(grid, "default", only_failed=False)
    lines = commands(tmp_path)
    kinds = [line.split("\0")[1] for line in lines]
    assert kinds == ["launch/finetune.py", *["launch/pretrain.py"] * 3]
    run = find(grid, "dynamic", 1)
    assert run.status == "pending" and (run.run_dir / "job.id").read_text() == "101_4\n"
    assert load_config(PretrainConfig, str(run.run_dir / "job.yaml")) == run.config


def test_what_waits_in_the_queue_is_not_queued_again(grid, tmp_path, monkeypatch):
    train_on_cluster(grid, "default", only_failed=False)
    monkeypatch.setenv("QUEUED", "101_1")
    with pytest.raises(InputError, match="no run can be queued now"):
        train_on_cluster(grid, "default", only_failed=False)


def test_only_failed_queues_what_was_started(grid, tmp_path):
    broken = find(grid, "dynamic")
    finish(broken)
    (broken.run_dir / "status").write_text("failed\n")
    train_on_cluster(grid, "default", only_failed=True)
    assert len(commands(tmp_path)) == 1 and "dynamic/seed0" in commands(tmp_path)[0]


def test_a_dry_run_prints_the_script_and_leaves_no_trace(grid, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    before = sorted(tmp_path.rglob("*"))
    text = train_on_cluster(grid, "default", only_failed=False, is_dry=True)
    assert text.startswith("#!") and "#SBATCH --array=1-4" in text
    assert sorted(tmp_path.rglob("*")) == before


def test_without_slurm(grid, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no sbatch"):
        train_on_cluster(grid, "default", only_failed=False)
    assert not grid.folder.exists()
