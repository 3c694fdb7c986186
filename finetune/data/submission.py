"""Answers as files: predictions.csv, and what GLUE's server takes (gluebenchmark.com/faq).

That is tab-separated, one line a test row. The first line is `index` and `prediction`; then each
row's number from 0 and its label, or a number with three decimals. The server takes a file only if
it has every row of the released test file.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.system.files import write_text, written_file
from configs.system.run_folder import RunFolder
from configs.system.safe_text import Spreadsheet, visible
from configs.task_schema import TaskConfig
from finetune.data.example import Splits, are_labelled

logger = logging.getLogger(__name__)

FOLDER = "submission"
BINARY = ("0", "1")
TWO_WAY = ("entailment", "not_entailment")
THREE_WAY = ("contradiction", "entailment", "neutral")
FORMS: dict[str, tuple[int, tuple[str, ...]]] = {
    "CoLA": (1_063, BINARY),
    "SST-2": (1_821, BINARY),
    "MRPC": (1_725, BINARY),
    "STS-B": (1_379, ()),
    "QQP": (390_965, BINARY),
    "MNLI-m": (9_796, THREE_WAY),
    "MNLI-mm": (9_847, THREE_WAY),
    "QNLI": (5_463, TWO_WAY),
    "RTE": (3_000, TWO_WAY),
    "WNLI": (146, BINARY),
    "AX": (1_104, THREE_WAY),
}
"""rows of each released test file, and all that may stand there; none: a number from 0 to 5"""


def write_predictions(path: Path, rows: Sequence[Mapping[str, object]], csv_safe: bool) -> None:
    """The rows as CSV, at once; the first one has all columns.

    Args:
        csv_safe: put ' before what a spreadsheet would take for a formula, and say how often.
    """
    safe = Spreadsheet() if csv_safe else None
    with written_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({name: safe(cell) for name, cell in row.items()} if safe else row)
    if safe and safe.note:
        logger.warning(f"{visible(path)}: {safe.note}")


def read_predictions(path: Path) -> list[dict[str, str]]:
    """The rows of a predictions.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
        (rows, taken), examples = FORMS[task], splits.evaluated[name]
        if labels != set(taken):
            wanted, own = (", ".join(sorted(x)) or "numbers" for x in (taken, labels))
            raise InputError(
                f"task.submission: the server takes {wanted} for {task}, but the task's answers "
                f"are {own}: learn from GLUE's own files, or set task.submission.{name}=null"
            )
        # The file's own row numbers count from 0, or from 1.
        for expected, example in enumerate(examples, start=0 if examples[0].id == "0" else 1):
            if example.id != str(expected):
                raise InputError(
                    f"{example.where}: its index is {example.id} where {expected} is expected: the "
                    "server wants all rows of the released file, in order"
                )
        if len(examples) != rows:
            yield (
                f"{FOLDER}/{task}.tsv will have {len(examples):,} rows, but the server wants the "
                f"{rows:,} of the released file"
            )


def write_submissions(folder: Path, config: TaskConfig, splits: Splits[Any]) -> list[Path]:
    """submission/TASK.tsv in `folder`, from its predictions.csv; returns their paths."""
    tasks = submitted(config, splits)
    if not tasks:
        return []
    rows = read_predictions(RunFolder(folder).predictions)
    (folder / FOLDER).mkdir(exist_ok=True)
    paths = []
    for name, task in tasks.items():
        answers = [row["prediction"] for row in rows if row["split"] == name]
        paths.append(folder / FOLDER / f"{task}.tsv")
        write_text(paths[-1], submission(task, answers))
    return paths


def submission(task: str, answers: Sequence[str]) -> str:
    """The content of a file."""
    if not FORMS[task][1]:
        answers = [f"{min(5.0, max(0.0, float(answer))):.3f}" for answer in answers]
    lines = [f"{index}\t{answer}" for index, answer in enumerate(answers)]
    return "\n".join(["index\tprediction", *lines]) + "\n"
