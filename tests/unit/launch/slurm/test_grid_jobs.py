"""Elements of a grid's array: the commands that are queued by hand, and by a submission."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT


def test_by_hand_the_configuration_knows_the_run_folder(job):
    job.environment["MASKLAB_RUN_DIR"] = ""
    done = job.run(trainer="""echo "run_dir: 'runs/a: b # c'" """)
    assert f"run folder {job.folder}/runs/a: b # c\n" in done.stdout
    assert job.run(code=2).returncode == 2, "a configuration that is refused"


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
