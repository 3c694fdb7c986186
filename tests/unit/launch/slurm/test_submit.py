"""launch/submit.py: scripts, run folders, refusals; with a stand-in for sbatch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.loader import load_config
from configs.schema import PretrainConfig
from configs.system.run_lock import take
from tests.conftest import ROOT
from tests.unit.launch.slurm.fakes import install

SBATCH = 'echo "$@" >>"$CALLS"; [ -z "$REFUSE" ] || { echo "sbatch: error: $REFUSE" >&2; exit 1; }'
SBATCH += "; echo $((100 + $(wc -l <$CALLS)))"
TASK = ("--config", "finetune/tweets", "--job", "finetune", "model=runs/small")


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """`submit("--config", ...)` in `tmp_path`, where sbatch answers 101, 102, ..."""
    monkeypatch.setenv("PATH", install(tmp_path / "bin", sbatch=SBATCH, squeue='echo "$QUEUED"'))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("REFUSE", "")
    monkeypatch.setenv("QUEUED", "")

    def run(*words: object, cluster: str = "default") -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / "launch" / "submit.py"), "--cluster", cluster]
        return subprocess.run(
            [*command, *map(str, words)], cwd=tmp_path, capture_output=True, text=True
        )

    return run


def assert_refused(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name not in ("bin", "calls"))


def assert_is_bash(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


JOBS = {
    "pretrain": ["--config", "roberta_small"],
    "finetune": TASK,
    "prepare": ["--config", "roberta_small", "--job", "prepare"],
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("cluster", ["default", "example-h100"])
def test_a_dry_run_prints_a_script_and_touches_nothing(submit, tmp_path, job, cluster):
    done = submit(*JOBS[job], "--dry-run", cluster=cluster)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#!/usr/bin/env bash\n#SBATCH ")
    assert_is_bash(done.stdout)
    assert not files(tmp_path)


def test_the_profile_decides_what_is_asked_of_slurm(submit, tmp_path):
    words = ("cluster.nodes=2", "cluster.gpus_per_node=4", "cluster.memory=64G", "cluster.qos=high")
    done = submit("--config", "roberta_small", *words, "--dry-run", cluster="example-h100")
    lines = [line for line in done.stdout.splitlines() if line.startswith("#SBATCH")]
    for line in (
        *("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--mem=64G", "--qos=high"),
        *("--partition=gpu", "--account=my_project", "--constraint=h100", "--exclusive"),
        *("--requeue", "--signal=B:USR1@600", "--open-mode=append", "--time=1440"),
        f"--output={tmp_path}/runs/roberta_small/logs/%j.out",
    ):
        assert lines.count(f"#SBATCH {line}") == 1, line


def test_a_submission_leaves_a_folder_that_explains_itself(submit, tmp_path):
    done = submit("--config", "roberta_small", "seed=3", "run_dir=runs/my run")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "my run"
    assert files(folder) == ["code", "job.id", "job.sbatch", "job.yaml", "logs", "status"]
    assert (folder / "status").read_text() == "pending\n"
    assert (folder / "job.id").read_text() == "101\n"
    assert "scancel 101" in done.stdout and str(folder / "logs" / "101.out") in done.stdout
    config = load_config(PretrainConfig, str(folder / "job.yaml"))
    assert (config.seed, config.run_dir) == (3, "runs/my run")
    script = (folder / "job.sbatch").read_text()
    assert_is_bash(script)
    assert f"MASKLAB_CODE='{folder}/code'" in script
    assert (tmp_path / "calls").read_text() == f"--parsable {folder}/job.sbatch\n"


def test_the_code_is_a_copy_that_runs_and_knows_its_version(submit, tmp_path):
    submit("--config", "roberta_small")
    code = tmp_path / "runs" / "roberta_small" / "code"
    for name in ("launch/pretrain.py", "launch/slurm/common.sh", "configs/roberta_small.yaml"):
        assert (code / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list(code.rglob("__pycache__"))
    version = "import sys; sys.path[0] = sys.argv[1]; import configs.system.version as v; "
    version += "print(v.code_version(), v.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", version, str(code)], cwd=tmp_path, capture_output=True, text=True
    )
    said, place = done.stdout.split(" ", 1)[0], done.stdout.split()[-1]
    assert place.startswith(str(code))
    assert said == (code / ".version").read_text().split()[0]


def test_preparation_is_an_array_and_a_merge_that_waits(submit, tmp_path):
    done = submit("--config", "roberta_small", "--job", "prepare", "cluster.prepare.shards=4")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "roberta_small" / "prepare"
    assert "#SBATCH --array=0-3\n" in (folder / "array.sbatch").read_text()
    assert "#SBATCH --array" not in (folder / "job.sbatch").read_text()
    for name in ("array.sbatch", "job.sbatch"):
        assert "MASKLAB_SHARDS=4\n" in (folder / name).read_text()
        assert "--gpus" not in (folder / name).read_text()
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"--parsable {folder}/array.sbatch",
        f"--parsable --dependency=afterok:101 --kill-on-invalid-dep=yes {folder}/job.sbatch",
    ]
    assert not (folder.parent / "status").exists()


@pytest.fixture
def grid(tmp_path) -> Path:
    """Four commands; runs/b is completed, runs/d failed."""
    lines = [
        "# seeds and a task",
        *(
            f"launch/pretrain.py --config roberta_small {w}"
            for w in ("run_dir=runs/a", "seed=1 run_dir='runs/b'", "run_dir=runs/c")
        ),
    ]
    lines += ["", "deepspeed launch/finetune.py --config finetune/tweets model=x run_dir=runs/d"]
    path = tmp_path / "seeds.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    for name, status in {"b": "completed", "d": "failed"}.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "status").write_text(f"{status}\n")
    return path


def test_a_grid_is_an_array_over_its_commands(submit, grid, tmp_path):
    done = submit("--job", "commands", "--config", grid, "cluster.array_limit=2")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "seeds.grid"
    assert "#SBATCH --array=1-4%2\n" in (folder / "array.sbatch").read_text()
    lines = (folder / "commands").read_text().splitlines()
    assert lines[1] == "runs/b\0launch/pretrain.py\0--config\0runs/b/job.yaml\0"
    assert lines[3].split("\0")[1] == "launch/finetune.py"
    assert load_config(PretrainConfig, str(tmp_path / "runs/b/job.yaml")).seed == 1
    assert (tmp_path / "runs/c/job.id").read_text() == "101_3\n"
    assert (tmp_path / "runs/d/status").read_text() == "pending\n"


def test_only_failed_leaves_completed_runs_out(submit, grid, tmp_path):
    done = submit("--job", "commands", "--config", grid, "--only", "failed")
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "runs" / "seeds.grid" / "array.sbatch").read_text()
    assert "#SBATCH --array=1,3-4\n" in script
    assert not (tmp_path / "runs/b/job.id").exists()
    assert (tmp_path / "runs/b/status").read_text() == "completed\n"


BAD_GRIDS = {
    "empty": ("# nothing\n", ["holds no command"]),
    "another script": ("launch/export.py --model x\n", ["line 1", "no command of a grid"]),
    "line break": (
        "launch/pretrain.py --config roberta_small run_dir='a\ntouch canary #'\n",
        ["line 1", "quotation"],
    ),
    "option": (
        "launch/pretrain.py --config roberta_small --print-config\n",
        ["line 1", "one option"],
    ),
    "quotes": ("launch/pretrain.py --config 'x\n", ["line 1", "quotation"]),
    "field": ("launch/pretrain.py --config roberta_small sede=1\n", ["line 1", "seed"]),
    "one folder": ("launch/pretrain.py --config roberta_small\n" * 2, ["line 2", "run_dir="]),
}


@pytest.mark.parametrize("case", BAD_GRIDS)
def test_bad_grids(submit, tmp_path, case):
    text, words = BAD_GRIDS[case]
    (tmp_path / "grid.txt").write_text(text)
    assert_refused(submit("--job", "commands", "--config", "grid.txt"), "grid.txt", *words)
    assert files(tmp_path) == ["grid.txt"]


REFUSED = {
    "run": (["--config", "roberta_small", "sede=1"], ["sede", "seed"]),
    "no such run": (["--config", "roberta_smal"], ["did you mean roberta_small"]),
    "profile": (["--config", "roberta_small", "cluster.nodse=1"], ["nodse", "nodes"]),
    "lead": (["--config", "roberta_small", "cluster.minutes=15"], ["signal_lead_seconds"]),
    "site": (["--config", "roberta_small", "cluster.site_environment=no.env"], ["no.env"]),
    "only": (["--config", "roberta_small", "--only", "failed"], ["--only failed", "commands"]),
    "grid's fields": (["--job", "commands", "--config", "x.txt", "seed=1"], ["seed=1", "x.txt"]),
    "line break": (["--config", "roberta_small", 'run_dir="a\\nb"'], ["run_dir", "holds \\n"]),
    "bidi": (["--config", "roberta_small", "run_dir=a\u202eb"], ["run_dir", "\\u202e"]),
    "escape": (["--config", "roberta_small", "run_dir=\x1b[2J"], ["run_dir", "\\x1b"]),
    "bytes": (["--config", "roberta_small", "run_dir=a\udcffb"], ["run_dir", "\\udcff"]),
    "backslash": (
        ["--config", "roberta_small", "run_dir=a\\' --wrap=id"],
        ["run_dir", "backslash"],
    ),
    "reference": (["--config", "roberta_small", "run_dir=a\\${b}"], ["run_dir", "Interpolation"]),
    "mount": (
        ["--config", "roberta_small", "run_dir=a:b", "cluster.container.image=x.sqsh"],
        ["run_dir", "mounts"],
    ),
    "prefix": (
        ["--config", "roberta_small", "cluster.sbatch_options=[--wra=id]"],
        ["sbatch_options", "--wra=id", "--wrap"],
    ),
    "no grid": (["--job", "commands", "--config", "x.txt"], ["x.txt", "no such file"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_before_anything_is_written(submit, tmp_path, case):
    words, said = REFUSED[case]
    assert_refused(submit(*words), *said)
    assert not files(tmp_path)


def test_a_folder_that_slurm_would_read_as_another(submit, tmp_path):
    for name in (b"a\\b", b"a\nb", b"a\xffb"):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        command = [sys.executable, str(ROOT / "launch" / "submit.py"), "--cluster", "default"]
        done = subprocess.run(
            [*command, "--config", "roberta_small"], cwd=folder, capture_output=True, text=True
        )
        assert_refused(done, "current folder")
        assert not os.listdir(folder)


def test_a_job_of_which_nothing_is_known_is_not_taken_for_gone(submit, tmp_path, monkeypatch):
    assert submit("--config", "roberta_small").returncode == 0
    install(tmp_path / "bin", squeue="echo 'Unable to contact slurm controller' >&2; exit 1")
    assert_refused(submit("--config", "roberta_small"), "squeue", "Unable to contact")


def test_without_sbatch(submit, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert_refused(submit("--config", "roberta_small"), "no sbatch", "--dry-run")
    assert not files(tmp_path)


def test_what_slurm_refuses_is_told_and_the_status_is_as_before(submit, tmp_path, monkeypatch):
    monkeypatch.setenv("REFUSE", "invalid partition specified: gpuu")
    done = submit("--config", "roberta_small", "cluster.partition=gpuu")
    assert_refused(done, "sbatch refused", "invalid partition specified: gpuu")
    status = tmp_path / "runs" / "roberta_small" / "status"
    assert not status.exists()
    status.write_text("failed\n")
    submit("--config", "roberta_small", "cluster.partition=gpuu")
    assert status.read_text() == "failed\n"


def test_a_run_is_not_queued_twice(submit, tmp_path, monkeypatch):
    assert submit("--config", "roberta_small").returncode == 0
    monkeypatch.setenv("QUEUED", "101")
    assert_refused(submit("--config", "roberta_small"), "job 101", "scancel 101")
    monkeypatch.setenv("QUEUED", "")
    assert submit("--config", "roberta_small").returncode == 0


def test_an_interpreter_of_the_profile(submit, tmp_path):
    def python(*words: str) -> str:
        script = submit("--config", "roberta_small", "--dry-run", *words).stdout
        return next(s for s in script.splitlines() if s.startswith("MASKLAB_PYTHON="))[15:]

    assert os.path.samefile(python(), sys.executable)
    (tmp_path / "env").mkdir()
    assert python("cluster.python=env") == f"{tmp_path}/env/bin/python"
    assert python("cluster.python=python3.12") == "python3.12"
    assert python("cluster.container.image=torch.sqsh") == "python"


@pytest.mark.parametrize("job", [["--config", "roberta_small"], TASK])
def test_a_folder_that_a_run_has_without_slurm_is_left_as_it_is(submit, tmp_path, job):
    lock = take(tmp_path / "run")
    assert_refused(submit(*job, "run_dir=run"), f"process {os.getpid()} on ", "choose another")
    assert files(tmp_path / "run") == ["lock"]
    lock.release()
