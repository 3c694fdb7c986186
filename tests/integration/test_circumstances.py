"""What happens around a run does not end it: odd names, links, what a power cut tore."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from configs.system.run_folder import RunFolder
from tests.conftest import ROOT, Command
from tests.forked import run_script
from tests.integration.test_bad_input import assert_one_line

LABELS = {"file": "$", "loop": "$$", "number": "_a^{ %&#~\\"}


def test_a_run_of_any_name_resumes_over_links_and_torn_files(tiny, tiny_run, tmp_path):
    """Cut after 4 steps and damaged; its end has the bits of the undisturbed run."""
    run = tmp_path / "a_$b_$"
    words = ("pretrain.py", "--config", tiny, f"run_dir={run}", "checkpoint.keep=2")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run.mkdir()
    (run / "checkpoints").symlink_to(scratch)
    first = Command(*words, "schedule.max_steps=4", "schedule.decay=constant", cwd=tmp_path)
    assert first.finish().returncode == 0
    shutil.rmtree(run / "export")
    for path in scratch.iterdir():
        shutil.rmtree(path)
    saved = shutil.copytree(tiny_run / "checkpoints/step-00000006", tmp_path / "archive")
    (scratch / "step-00000006").symlink_to(saved)
    lines = (tiny_run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines = [line for line in lines if b'"train"' in line or b'"heldout"' in line]
    (run / "metrics.jsonl").write_bytes(
        b"\0" * 99 + lines[0] + b"".join(lines[1:-3]) + lines[-3][:9]
    )
    (run / "status").write_bytes(b"\0" * 8)
    (run / "environment.json").write_text("")
    done = run_script(*words, "checkpoint.keep=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumed at step 6" in done.stdout
    assert "torn lines, or none of a run's: 2 left out" in done.stderr
    assert (run / "status").read_text() == "completed\n"
    assert (run / "plots/curves.png").read_bytes().startswith(b"\x89PNG")
    assert (saved / "complete").is_file(), "what a link leads to stays"
    assert [path.name for path in scratch.iterdir()] == ["step-00000008"]
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = (r / "checkpoints/step-00000008" / name for r in (run, tiny_run))
        assert ours.read_bytes() == theirs.read_bytes()
    ends = [(r["kind"], r["step"]) for r in RunFolder(run).read_metrics()][-5:]
    scored = [("heldout", 8), ("words", 8), ("plateau", 8)]
    assert ends == [("train", 7), ("train", 8), *scored]


def test_labels_that_mean_something_elsewhere_and_a_torn_result(tiny_task, tmp_path):
    folder = tmp_path / "task"
    shutil.copytree(tiny_task.parent, folder)
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [[text, LABELS.get(label, label)] for text, label in csv.reader(file)]
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    words = ("finetune.py", "--config", tiny_task, "run_dir=r_$_$", f"task.folder={folder}")
    done = run_script(*words, "schedule.max_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note:" not in done.stderr
    run = tmp_path / "r_$_$"
    assert (run / "status").read_text() == "completed\n"
    for name in ("confusion_dev", "calibration_dev", "trials"):
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    predictions = (run / "predictions.csv").read_bytes()
    (run / "trials/seed=0/result.json").write_bytes(b"\0\0")
    (run / "plots/trials.png").unlink()
    (run / "plots/trials.png").mkdir()
    again = run_script(*words, "schedule.max_epochs=1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "result.json: damaged" in again.stderr and "its trial is run anew" in again.stderr
    assert "note: r_$_$/plots/trials.png could not be made" in again.stderr
    assert (run / "status").read_text() == "completed\n"
    assert (run / "predictions.csv").read_bytes() == predictions


VIEWS = ("/proc/cpuinfo", "/proc/kmsg", "/proc", "/sys/kernel", "/proc/self/mem")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux has these folders")
@pytest.mark.parametrize("place", VIEWS)
def test_views_of_the_system_are_no_sources(place):
    from configs.errors import InputError
    from configs.schema import SourceConfig
    from pretrain.text.find_files import source_files

    with pytest.raises(InputError, match="not a stored file"):
        source_files(SourceConfig(kind="text", path=place))


def test_an_output_that_is_a_device_stays_one(launch, tiny_finetuned, tmp_path):
    (tmp_path / "in.txt").write_text("open the file\n")
    words = ("predict.py", "--model", tiny_finetuned, "--input", tmp_path / "in.txt")
    assert_one_line(launch(*words, "--output", "/dev/null"), "/dev/null: a device, not a file")
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("set -o pipefail; {} | true", 1, "error: standard output: its reader has gone"),
        ("{} >/dev/full", 2, "error: standard output: the disk is full"),
        ("{} >&-", 0, ""),
        ("{} --block 0 2>&-", 2, ""),
    ],
)
def test_a_standard_output_that_takes_nothing(tiny_finetuned, tmp_path, command, code, said):
    (tmp_path / "new.txt").write_text("open the file\n" * 300)
    words = f"{sys.executable} {ROOT}/launch/predict.py --model {tiny_finetuned} --input new.txt"
    bash = ["bash", "-c", command.format(words)]
    done = subprocess.run(bash, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(said) and done.stderr.count("\n") == bool(said)


def test_a_table_names_a_folder_without_scores_and_has_each_once(launch, tiny_finetuned, tmp_path):
    done = launch("table.py", "--runs", tiny_finetuned, "nothing")
    assert_one_line(done, "--runs nothing: no scores.json there")
    done = launch("table.py", "--runs", tiny_finetuned, tiny_finetuned.parent)
    assert done.stdout.count(f"| {tiny_finetuned.name} |") == 1, done.stdout
