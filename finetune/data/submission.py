"""Answer files for GLUE's server (gluebenchmark.com/faq): tab-separated, one line a test row.

The first line is `index` and `prediction`; then each row's number from 0 and its label, or a number
with three decimals. The server takes a file only if it has every row of the released test file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.system.files import write_text
from configs.system.run_names import PREDICTIONS
from configs.task_schema import TaskConfig
from finetune.data.example import Splits, TextExample, are_labelled

FOLDER = "submission"
BINARY = ("0", "1")
TWO_WAY = ("entailment", "not_entailment")
THREE_WAY = ("contradiction", "entailment", "neutral")


@dataclass(frozen=True)
class Form:
    """What the server expects of a file."""

    rows: int
    """of the released test file"""
    labels: tuple[str, ...] = ()
    """all that may stand there; none: a number from 0 to 5"""


FORMS = {
    "CoLA": Form(1_063, BINARY),
    "SST-2": Form(1_821, BINARY),
    "MRPC": Form(1_725, BINARY),
    "STS-B": Form(1_379),
    "QQP": Form(390_965, BINARY),
    "MNLI-m": Form(9_796, THREE_WAY),
    "MNLI-mm": Form(9_847, THREE_WAY),
    "QNLI": Form(5_463, TWO_WAY),
    "RTE": Form(3_000, TWO_WAY),
    "WNLI": Form(146, BINARY),
    "AX": Form(1_104, THREE_WAY),
}


def submitted(config: TaskConfig, splits: Splits[Any]) -> dict[str, str]:
    """GLUE's name of every file to write, by the part that it answers."""
    return {
        name: task
        for name, task in config.submission.items()
        if task and name in splits.evaluated and not are_labelled(splits.evaluated[name])
    }


def check_submissions(config: TaskConfig, splits: Splits[Any]) -> Iterator[str]:
    """Notes on files that the server will not take as they are.

    Raises:
        InputError: the task's labels are not the server's, or the rows of a test file are not in
            its order.
    """
    labels = {config.merge.get(label, label) for label in splits.labels}
    for name, task in submitted(config, splits).items():
        form, examples = FORMS[task], splits.evaluated[name]
        if labels != set(form.labels):
            wanted, own = (", ".join(sorted(x)) or "numbers" for x in (form.labels, labels))
            raise InputError(
                f"task.submission: the server takes {wanted} for {task}, but the task's answers "
                f"are {own}: learn from GLUE's own files, or set task.submission.{name}=null"
            )
        check_order(examples)
        if len(examples) != form.rows:
            yield (
                f"{FOLDER}/{task}.tsv will have {len(examples):,} rows, but the server wants the "
                f"{form.rows:,} of the released file"
            )


def check_order(examples: Sequence[TextExample]) -> None:
    """Raise `InputError` where a file's own row numbers do not count from 0, or from 1."""
    numbers = [example.id for example in examples]
    start = 0 if numbers[0] == "0" else 1
    for expected, (number, example) in enumerate(zip(numbers, examples), start=start):
        if number != str(expected):
            raise InputError(
                f"{example.where}: its index is {number} where {expected} is expected: the server "
                "wants all rows of the released file, in order"
            )


def write_submissions(folder: Path, config: TaskConfig, splits: Splits[Any]) -> list[Path]:
    """submission/TASK.tsv in `folder`, from its predictions.csv; returns their paths."""
    tasks = submitted(config, splits)
    if not tasks:
        return []
    with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (folder / FOLDER).mkdir(exist_ok=True)
    paths = []
    for name, task in tasks.items():
        answers = [row["prediction"] for row in rows if row["split"] == name]
        paths.append(folder / FOLDER / f"{task}.tsv")
        write_text(paths[-1], submission(task, answers))
    return paths


def submission(task: str, answers: Sequence[str]) -> str:
    """The content of a file."""
    if not FORMS[task].labels:
        answers = [f"{min(5.0, max(0.0, float(answer))):.3f}" for answer in answers]
    lines = [f"{index}\t{answer}" for index, answer in enumerate(answers)]
    return "\n".join(["index\tprediction", *lines]) + "\n"
