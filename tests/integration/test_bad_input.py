"""Bad input: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, deepspeed


def assert_one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0], errors[0]


def leftovers(folder: Path) -> list[Path]:
    """Files, other than locks, that a failed command left in a cache or run folder."""
    return [
        p
        for p in folder.rglob("*")
        if p.is_file() and (p.suffix or p.name) not in (".lock", "lock")
    ]


CONFIGURATION = {
    "unknown key": (["sede=1"], ["sede", "did you mean 'seed'"]),
    "wrong type": (["model.layers=four"], ["model.layers"]),
    "position table": (["max_length=65"], ["max_length=65", "model.max_positions"]),
    "nsp with full-sentences": (
        ["next_sentence_prediction=true"],
        ["input_format=full-sentences", "segment-pair"],
    ),
    "lamb with zero": (
        ["optimizer.name=lamb", "engine.zero_stage=1"],
        ["optimizer.name=lamb", "engine.zero_stage=0"],
    ),
}


@pytest.mark.parametrize("case", CONFIGURATION)
def test_configuration(launch, tiny, tmp_path, case):
    overrides, words = CONFIGURATION[case]
    assert_one_line(launch("pretrain.py", "--config", tiny, *overrides), *words)
    assert not leftovers(tmp_path)


def test_missing_configuration(launch):
    done = launch("pretrain.py", "--config", "roberta_smal.yaml")
    assert_one_line(done, "roberta_smal.yaml", "did you mean roberta_small.yaml")


TEXTS = {
    "missing file": (None, ["text.txt"]),
    "empty corpus": (b"\n\n \n", ["text.txt", "no text"]),
    "not UTF-8": (b"fine line\n\nbad \xff line\n", ["text.txt", "line 3", "UTF-8"]),
    "vocabulary": (b"too little\n\ntext for that\n" * 9, ["tokenizer.vocabulary_size=512"]),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text(launch, tiny, tmp_path, case):
    content, words = TEXTS[case]
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    cache = tmp_path / "cache"
    overrides = (f"data.sources.0.path={text}", f"data.cache={cache}")
    assert_one_line(launch("pretrain.py", "--config", tiny, *overrides), *words)
    assert not leftovers(cache) and not (tmp_path / "runs").exists()


def test_corpus_smaller_than_a_batch(launch, tiny, tmp_path):
    done = launch("pretrain.py", "--config", tiny, "batch.sequences=100000")
    assert_one_line(done, "less than one batch", "batch.sequences")
    assert not (tmp_path / "runs").exists()


def test_the_launcher_passes_the_exit_code_on(launch, tiny):
    done = launch("pretrain.py", "--config", tiny, "seed=-1", launcher=deepspeed(2))
    assert done.returncode == 2
    assert "error: seed=-1" in done.stderr and "Traceback" not in done.stderr


def test_tokenizer_that_does_not_match_the_store(launch, tiny, tmp_path):
    prepared = launch("prepare.py", "--config", tiny)
    assert prepared.returncode == 0, prepared.stderr
    store = Path(prepared.stdout.split()[1])
    other = launch("prepare.py", "--config", tiny, "tokenizer.vocabulary_size=400")
    tokenizer = Path(other.stdout.split()[1]) / "tokenizer"
    overrides = (f"data.store={store}", f"tokenizer.path={tokenizer}")
    assert_one_line(
        launch("pretrain.py", "--config", tiny, *overrides), "data.store", "tokenizer.path"
    )


def test_damaged_store(launch, tiny, tmp_path):
    prepared = launch("prepare.py", "--config", tiny)
    store = shutil.copytree(Path(prepared.stdout.split()[1]), tmp_path / "store")
    tokens = store / "00000" / "train" / "00000.tokens"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    done = launch("pretrain.py", "--config", tiny, f"data.store={store}")
    assert_one_line(done, "00000.tokens", "cut short")


def test_checkpoint_of_another_run(launch, tiny, tmp_path):
    """Another architecture, recipe or corpus is refused, and the run folder is left as it was."""
    steps = ("schedule.max_steps=2", "run_dir=run")
    assert launch("pretrain.py", "--config", tiny, *steps).returncode == 0
    before = (tmp_path / "run/config.yaml").read_text()
    for change in ("model.layers=1", "seed=1", "masking.probability=0.2"):
        done = launch("pretrain.py", "--config", tiny, *steps, change)
        assert_one_line(done, change.split("=")[0], "run_dir")
    done = launch("pretrain.py", "--config", tiny, *steps, "data.heldout_fraction=0.2")
    assert_one_line(done, "tokenizer=", "run_dir")
    assert (tmp_path / "run/config.yaml").read_text() == before


def test_export_does_not_replace_a_folder_of_something_else(launch, tiny, tmp_path):
    kept = tmp_path / "thesis" / "chapter.tex"
    kept.parent.mkdir()
    kept.write_text("years of work")
    done = launch("export.py", "--model", tmp_path / "run", "--output", kept.parent)
    assert_one_line(done, "--output", "new folder")
    assert kept.read_text() == "years of work"


def test_run_dir_that_cannot_be_made(launch, tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert_one_line(launch("pretrain.py", "--config", tiny, "run_dir=file/run"), "file")
    if Path("/proc").is_dir():
        assert_one_line(launch("pretrain.py", "--config", tiny, "run_dir=/proc/run"), "/proc/run")


def test_full_disk_while_writing_the_store(tiny, tmp_path):
    """A limit on file sizes makes writes fail as a full disk does, without filling one."""

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    cache = tmp_path / "cache"
    words = (sys.executable, str(ROOT / "launch/prepare.py"), "--config", str(tiny))
    done = subprocess.run(
        [*words, f"data.cache={cache}"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert_one_line(done, "disk is full")
    assert not [p for p in leftovers(cache) if "stores" in p.parts]
