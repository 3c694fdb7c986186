"""The data report as a command."""

from __future__ import annotations

import csv
import re

import pytest

from tests.integration.test_bad_input import assert_one_line

YAML = """
max_length: 12
task:
  name: toy
  folder: {folder}
  text: tweet
  label: feeling
  labels: [bad, good]
  merge: {{very bad: bad}}
  preprocess: {{preset: transformer}}
"""
WORDS = {"good": "sunny happy calm", "bad": "rainy sad loud", "very bad": "stormy awful grim"}


@pytest.fixture
def toy(tmp_path):
    """A configuration, its table beside it."""
    labels = [list(WORDS)[number % 3] for number in range(60)]
    with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["place", "day", "tweet", "feeling"])
        for n, label in enumerate(labels):
            text = f"A {WORDS[label]} day number {n} https://t.co/{n} #day"
            rows.writerow(["here" if n % 2 else "", f"{n % 28 + 1:02}-03-2020", text, label])
    (tmp_path / "toy.yaml").write_text(YAML.format(folder=tmp_path), encoding="utf-8")
    return tmp_path / "toy.yaml"


def test_report(launch, toy, tmp_path):
    done = launch("explore.py", "--config", toy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "done: runs/data/toy/report.md"
    assert "missing  place 30" in done.stdout
    folder = tmp_path / "runs/data/toy"
    report = (folder / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", report)
    assert len(pictures) == 15 and all((folder / name).is_file() for name in pictures)
    assert re.search(r"\| day \| \d+ \|", report) and "| trailing-hashtags |" in report
    for kind in ("wordpiece", "byte-bpe", "sentencepiece"):
        assert f"| {kind}, trained here |" in report


BAD = {
    "column": (["task.text=nope"], ["no column 'nope'", "task.text"]),
    "tokenizer": (["--tokenizer", "nowhere"], ["nowhere does not exist"]),
    "kind": (["task.kind=span"], ["task.kind=span"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(launch, toy, tmp_path, case):
    arguments, words = BAD[case]
    assert_one_line(launch("explore.py", "--config", toy, *arguments), *words)
    assert not (tmp_path / "runs").exists()
