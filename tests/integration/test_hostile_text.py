"""Text of an enemy in data, names and options: no terminal and no report takes it for a command."""

from __future__ import annotations

import csv
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from configs.system.safe_text import first_hidden
from tests.conftest import ROOT, write_topics
from tests.finetuning import TASK_YAML, TOPICS, topic_rows
from tests.forked import run_script

HIDDEN = "\x1b]0;x\x07\x1b[2J\x9b31m\u202e\u2066\u200f\u2028\x85\x7f"
HOSTILE = f"{HIDDEN}=1|<img src=x onerror=y>![a](http://b.c)[d](http://e.f)``<b>"
NAME = HOSTILE.replace("/", ":")
SEEN = NAME.removeprefix(HIDDEN)
"""for folders of a run, whose names may hold nothing that cannot be seen"""
LABELS = {topic: f"{topic}{HOSTILE}" for topic in TOPICS}


def assert_harmless(done: subprocess.CompletedProcess, code: int = 0) -> None:
    assert done.returncode == code, done.stderr
    for text in (done.stdout, done.stderr):
        assert first_hidden(text.replace("\n", "").replace("\t", "")) is None
    assert "Traceback" not in done.stderr
    assert code == 0 or sum(line.startswith("error: ") for line in done.stderr.split("\n")) == 1


def assert_plain_report(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert first_hidden(text.replace("\n", "")) is None
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        assert token.type != "html_block"
        for part in token.children or ():
            assert part.type not in ("html_inline", "link_open"), part
            assert part.type != "image" or part.attrs["src"].startswith("plots/")


ERRORS = {
    "pretrain.py": ["--config", NAME],
    "finetune.py": ["--config", "finetune/tweets", f"{NAME}=1"],
    "prepare.py": ["--config", "roberta_small", f"input_format={HOSTILE}"],
    "ablate.py": ["--config", "ablations/masking", "--scale", HOSTILE],
    "doctor.py": ["--config", "roberta_small", f"--gpu={HOSTILE}"],
    "explore.py": ["--config", "finetune/tweets", f"task.folder={NAME}"],
    "submit.py": ["--config", "roberta_small", "--cluster", NAME],
    "table.py": ["--runs", NAME],
    "export.py": ["--model", NAME, "--output", "out"],
    "predict.py": ["--model", NAME, "--input", NAME],
    "replay.py": ["--run", NAME, "--step", "1"],
    "benchmark.py": ["allreduce", "--sizes", HOSTILE],
    "selfcheck.py": ["--text", HOSTILE],
}


def test_every_script_has_a_case():
    ours = {path.name for path in (ROOT / "launch").glob("*.py")}
    others = {"__init__.py", "as_script.py", "command.py"}
    others |= {"answers.py", "torch_index.py"}
    assert ours - others == set(ERRORS)


@pytest.mark.slow
@pytest.mark.parametrize("script", ERRORS)
def test_errors_show_what_was_typed(launch, script):
    done = launch(script, *ERRORS[script])
    assert_harmless(done, 2)
    assert "\\x1b" in done.stderr


@pytest.mark.parametrize("script", ["pretrain.py", "submit.py"])
def test_errors_of_scripts_show_what_was_typed(launch, script):
    assert_harmless(launch(script, *ERRORS[script]), 2)


def write_hostile_table(folder: Path) -> Path:
    """train.csv with hostile texts, ids, column names and labels; its configuration's path."""
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", f"text{HOSTILE}", f"label{HOSTILE}", f"other{HOSTILE}"])
        for number, (text, label) in enumerate(topic_rows(rows=60)):
            words = [f"{number}{HOSTILE}", f"{text} {HOSTILE}", LABELS[label], HOSTILE]
            writer.writerow(words)
    path = folder / "hostile.yaml"
    path.write_text(TASK_YAML.format(model="MODEL", folder=folder), encoding="utf-8")
    return path


def fields(folder: Path, model: Path) -> list[str]:
    """Overrides, quoted as YAML wants them."""
    values = {"text": f"text{HOSTILE}", "label": f"label{HOSTILE}", "name": f"t{SEEN}"}
    escaped = {key: value.encode("unicode_escape").decode() for key, value in values.items()}
    quoted = [f'task.{key}="{value}"' for key, value in escaped.items()]
    more = ["task.repair_controls=false", "schedule.max_epochs=1"]
    return [*quoted, *more, f"model={model}"]


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    return write_hostile_table(tmp_path_factory.mktemp("hostile"))


def test_the_data_report(launch, task, tmp_path):
    own = fields(task.parent, Path("none"))
    assert_harmless(launch("explore.py", "--config", task, *own, "--output", "data"))
    assert_plain_report(tmp_path / "data" / "report.md")


@pytest.mark.slow
def test_a_run_from_hostile_text_to_its_table(task, tmp_path):
    texts = tmp_path / f"texts{SEEN}.txt"
    write_topics(texts)
    lines = texts.read_text(encoding="utf-8").split("\n")
    inside = HIDDEN.replace("\x85", "").replace("\u2028", "")
    texts.write_text("\n".join(line and f"{line} {inside}" for line in lines), encoding="utf-8")
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "base: roberta_small.yaml\n"
        f"data: {{sources: [{{kind: text, path: {quoted(texts)}}}], cache: cache, "
        "heldout_fraction: 0.1}\n"
        "tokenizer: {vocabulary_size: 512}\nmax_length: 32\nengine: {precision: fp32}\n"
        "model: {layers: 1, hidden_size: 32, heads: 2, feed_forward_size: 64, max_positions: 64}\n"
        "batch: {sequences: 16, micro_sequences: 8}\nschedule: {max_steps: 2}\n"
    )

    def run(*words: object) -> subprocess.CompletedProcess:
        done = run_script(*words, cwd=tmp_path)
        assert_harmless(done)
        return done

    pretrained, tuned = f"pre{SEEN}", f"fine{SEEN}"
    for script in ("prepare.py", "doctor.py", "pretrain.py"):
        run(script, "--config", config, f"run_dir={quoted(pretrained)}")
    run("replay.py", "--run", tmp_path / pretrained, "--step", "2")
    run("export.py", "--model", tmp_path / pretrained, "--output", tmp_path / f"out{NAME}")
    own = fields(task.parent, Path("x"))
    model = f"model={quoted(tmp_path / pretrained)}"
    run("finetune.py", "--config", task, *own, model, f"run_dir={quoted(tuned)}")
    assert_plain_report(tmp_path / tuned / "report.md")
    rivals = ["model=majority,n-gram-lm", f"run_dir={quoted('classical' + SEEN)}"]
    run("finetune.py", "--config", task, *own, *rivals)
    assert_plain_report(tmp_path / f"classical{SEEN}" / "classical" / "table.md")
    run("table.py", "--runs", tmp_path / tuned, "--output", "table.md")
    assert_plain_report(tmp_path / "table.md")
    check_answers(tmp_path / tuned, task.with_name("train.csv"), tmp_path)


def quoted(value: object) -> str:
    """A value as YAML takes it."""
    return '"' + str(value).encode("unicode_escape").decode() + '"'


def check_answers(model: Path, table: Path, folder: Path) -> None:
    """A file has what was read, a terminal sees it, and --csv-safe changes what it tells."""
    words = ["--model", model, "--input", table, "--output", folder / "safe.csv", "--csv-safe"]
    done = run_script("predict.py", *words, cwd=folder)
    assert_harmless(done)
    with (folder / "safe.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["text"].endswith(HOSTILE)
    shown = on_a_terminal("predict.py", "--model", model, "--input", table, cwd=folder)
    assert first_hidden(shown.replace("\r\n", "")) is None
    assert "\\x1b]0;x" in shown and len(shown.splitlines()) == 61


def on_a_terminal(script: str, *words: object, cwd: Path) -> str:
    """What a command shows there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, ROOT / "launch" / script, *words]
    process = subprocess.Popen(command, cwd=cwd, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # Linux: the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()
