"""Which classes of a task the rows confuse: their matrices beside each other on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.system.run_names import SCORES
from finetune.report.method_table import read_scores
from launch.ablation.measurements import Results

MOST_CLASSES = 10
"""of a matrix that fits beside others"""
Matrix = list[list[int]]
"""(gold class, predicted class)"""


@dataclass(frozen=True)
class Cell:
    """Examples of one class that were taken for one."""

    count: int
    share: float
    """of the examples of the class"""


@dataclass(frozen=True)
class Confusion:
    """Of one row: the dev examples of a task in all its trials, of all seeds."""

    row: str
    labels: list[str]
    cells: list[list[Cell]]
    """(gold class, predicted class)"""

    @classmethod
    def of(cls, row: str, labels: list[str], matrices: Sequence[Matrix]) -> Confusion:
        """The sum of a row's matrices."""
        counts = np.sum(np.array(matrices), axis=0)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        cells = [[Cell(int(n), float(s)) for n, s in zip(*both)] for both in zip(counts, shares)]
        return cls(row, labels, cells)


def confusions(results: Results) -> dict[str, list[Confusion]]:
    """By task, one for each row that was scored on its classes; tasks of many classes have none."""
    folders: dict[tuple[str, Path], None] = dict.fromkeys(
        (m.row, m.run_dir) for m in results.measurements if m.finetuning_seed is not None
    )
    found: dict[tuple[str, str], list[Matrix]] = {}
    labels: dict[str, list[str]] = {}
    for row, folder in folders:
        if not (folder / SCORES).is_file():
            continue
        scores = read_scores(folder)
        matrices = [trial.confusion for trial in scores.trials if trial.confusion]
        if matrices and len(scores.labels) <= MOST_CLASSES:
            labels[scores.task] = scores.labels
            found.setdefault((scores.task, row), []).extend(matrices)
    return {
        task: [
            Confusion.of(row.name, own, found[task, row.name])
            for row in results.rows
            if (task, row.name) in found
        ]
        for task, own in labels.items()
    }
