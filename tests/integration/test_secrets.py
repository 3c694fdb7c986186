"""A secret that a run is given is in none of its files and in nothing that it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import OF_A_RANK, ROOT
from tests.finetuning import TASK_YAML, topic_rows, write_csv
from tests.unit.launch.slurm.fakes import install

SECRET, ADDRESS = "hf_Zq81correcthorse", "https://me:tigerstripe@host.org/x?sig=lionsmane"
HIDDEN = (SECRET, "tigerstripe", "lionsmane")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(code, "pretrain.py", ...)` in `tmp_path`, with secrets in the environment."""
    log = "echo 101"
    path = install(tmp_path / "bin", sbatch=log, squeue="")
    environment = {k: v for k, v in os.environ.items() if k not in OF_A_RANK}
    environment |= {"PATH": path, "MY_SECRET": SECRET, "HF_TOKEN": SECRET, "PLACE": ADDRESS}

    def call(code: int, script: str, *words: object) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "launch" / script), *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stderr
        assert not any(secret in done.stdout + done.stderr for secret in HIDDEN)
        return done

    return call


def holders(folder: Path) -> list[Path]:
    """Files, and names of files, with a secret in them."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [
        path
        for path in paths
        if any(s.encode() in path.read_bytes() or s in str(path) for s in HIDDEN)
    ]


def test_from_pretraining_to_a_job_and_an_error(run, tiny, tmp_path):
    texts = [(f"Some text. {n} and more of it.\nA second line.", "x") for n in range(60)]
    write_csv(tmp_path / "docs.csv", texts, (SECRET, "other"))
    (tmp_path / "own.yaml").write_text(
        f"base: {tiny}\ntokenizer: {{allow_smaller_vocabulary: true}}\ndata:\n  cache: cache\n"
        "  sources: [{kind: csv, path: docs.csv, column: '${oc.env:MY_SECRET}'}]\n"
    )
    given = ["schedule.max_steps=2"]
    shown = run(0, "pretrain.py", "--config", "own.yaml", *given, "--print-config").stdout
    assert "column: ${oc.env:MY_SECRET}" in shown
    run(0, "pretrain.py", "--config", "own.yaml", *given, "run_dir=pre")
    run(0, "pretrain.py", "--config", "own.yaml", *given, "run_dir=pre")  # finds the same recipe
    write_csv(tmp_path / "train.csv", topic_rows(rows=60), ("text", SECRET))
    (tmp_path / "task.yaml").write_text(TASK_YAML.format(model="pre", folder=tmp_path))
    own = ["task.label=${oc.env:HF_TOKEN}", "schedule.max_epochs=1", "run_dir=fine"]
    own += [f"task.name=of {SECRET}"]
    run(0, "finetune.py", "--config", "task.yaml", *own)
    run(0, "explore.py", "--config", "task.yaml", *own, "--output", "explored")
    run(0, "table.py", "--runs", "fine", "--output", "table.md")
    run(0, "submit.py", "--config", "own.yaml", "--cluster", "default", *given, "--dry-run")
    run(0, "submit.py", "--config", "own.yaml", "--cluster", "default", *given, "run_dir=job")
    assert "${oc.env:MY_SECRET}" in (tmp_path / "job" / "job.yaml").read_text()
    cluster = ["--cluster", "default", "cluster.account=${oc.env:MY_SECRET}"]
    assert "script would hold" in run(2, "submit.py", "--config", "own.yaml", *cluster).stderr
    run(2, "pretrain.py", "--config", "own.yaml", f"hub_token={SECRET}")
    run(2, "pretrain.py", "--config", "own.yaml", f"data.cache='{ADDRESS}'")
    run(2, "pretrain.py", "--config", "own.yaml", "data.sources.0.path=${oc.env:PLACE}")
    for name in ("train.csv", "docs.csv"):
        (tmp_path / name).unlink()
    assert holders(tmp_path) == []
