"""What tests of files share."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from configs.task_schema import TaskConfig
from finetune.data.texts import read_text_splits
from tests.unit.finetune.data.text_tasks import TRAIN


@pytest.fixture
def write(tmp_path):
    """`write("a.csv", text or bytes)` makes a file."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@pytest.fixture
def read_texts(tmp_path):
    """`read_texts(train, dev=rows, label=..., ...)` writes the files and reads the examples."""

    def make(train, dev=TRAIN, test=None, columns=("text", "label"), **options):
        files = {"train": train, "dev": dev, "test": test}
        for name, rows in files.items():
            if rows is not None:
                with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
                    csv.writer(stream).writerows([columns, *rows])
                options[name] = f"{name}.csv"
        return read_text_splits(TaskConfig(folder=str(tmp_path), **options))

    return make
