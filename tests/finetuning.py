"""A small classification task whose classes talk of different things."""

from __future__ import annotations

import csv
import random
from pathlib import Path

TOPICS = {
    "file": ["open", "close", "read", "write", "path", "folder", "bytes", "stream"],
    "loop": ["while", "break", "continue", "iterate", "next", "range", "repeat", "end"],
    "number": ["integer", "float", "sum", "add", "divide", "decimal", "zero", "negative"],
}
FILLING = ["the", "of", "a,", "in", "with", "some;", "is", "not"]

TASK_YAML = """
model: {model}
max_length: 32
task: {{name: topics, folder: {folder}, dev_fraction: 0.2}}
batch: {{sequences: 16, micro_sequences: 8}}
optimizer: {{learning_rate: 5.0e-3, beta2: 0.999}}
schedule: {{max_epochs: 5, warmup_fraction: 0.1}}
engine: {{precision: fp32}}
log_every_steps: 5
"""


def topic_rows(seed: int = 0, rows: int = 150) -> list[tuple[str, str]]:
    """(text, label) pairs; half of the words of a text tell its label."""
    rng = random.Random(seed)
    labels = [list(TOPICS)[number % len(TOPICS)] for number in range(rows)]
    return [(topic_text(rng, label), label) for label in labels]


def topic_text(rng: random.Random, label: str) -> str:
    """4 to 11 words about `label`, among words that anything may hold."""
    telling = [rng.choice(TOPICS[label]) for _ in range(rng.randint(2, 5))]
    words = telling + [rng.choice(FILLING) for _ in range(rng.randint(2, 6))]
    return " ".join(rng.sample(words, len(words)))


def write_csv(path: Path, rows: list[tuple[str, str]], header: tuple[str, ...]) -> Path:
    """A CSV file of these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_task(folder: Path, model: Path) -> Path:
    """The task's train.csv and its configuration, whose path is returned."""
    write_csv(folder / "train.csv", topic_rows(), ("text", "label"))
    path = folder / "topics.yaml"
    path.write_text(TASK_YAML.format(folder=folder, model=model), encoding="utf-8")
    return path
