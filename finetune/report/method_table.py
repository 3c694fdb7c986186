"""What every method, encoder or classical, leaves behind to be compared, `scores.json`; and the
table of all methods, side by side on the same dev split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import InputError
from configs.system.files import make_folder, write_text
from configs.system.json_files import read_json
from configs.system.run_names import SCORES
from configs.system.safe_text import json_text, markdown
from configs.system.secrets import hide
from finetune.report.markdown_tables import confusion_table, table

METRICS = ("accuracy", "macro_f1")
"""that are shown where a task has them; else the one that its runs are compared by"""


@dataclass(frozen=True)
class TrialScores:
    """One training of a method."""

    name: str
    seed: int
    dev: dict[str, float]
    test: dict[str, float] | None
    seconds: float
    confusion: list[list[int]] = field(default_factory=list)
    """dev, (gold class, predicted class); empty where there are no classes"""
    further: dict[str, dict[str, float]] = field(default_factory=dict)
    """of further files, by name"""

    def of(self, part: str) -> dict[str, float]:
        """The scores of dev, test or a further file; empty where it was not scored."""
        return {"dev": self.dev, "test": self.test, **self.further}.get(part) or {}


def by_part(scores: Mapping[str, dict[str, float]]) -> dict[str, Any]:
    """Scores as files hold them: of dev, of test (None where there are none), of further parts."""
    further = {name: own for name, own in scores.items() if name not in ("dev", "test")}
    return {"dev": scores["dev"], "test": scores.get("test"), "further": further}


@dataclass(frozen=True)
class MethodScores:
    """All trainings of a method on a task."""

    method: str
    task: str
    metric: str
    labels: list[str]
    split: str
    """fingerprint of the dev examples: only equal ones may stand in one table"""
    trials: list[TrialScores]

    def write(self, folder: Path) -> None:
        """Into `folder`, at once."""
        make_folder(folder)
        write_text(folder / SCORES, json_text({**asdict(self), "task": hide(self.task)}) + "\n")

    def values(self, metric: str, split: str = "dev") -> list[float]:
        """One metric of all trials that have it."""
        parts = [trial.of(split) for trial in self.trials]
        return [part[metric] for part in parts if metric in part]

    def middle(self) -> TrialScores:
        """The trial whose dev score is the (lower) median."""
        ordered = sorted(self.trials, key=lambda trial: trial.dev[self.metric])
        return ordered[(len(ordered) - 1) // 2]


def read_scores(folder: Path) -> MethodScores:
    """The scores in a folder."""
    try:
        content: dict[str, Any] = read_json(folder / SCORES, infinite=True)
        trials = [TrialScores(**trial) for trial in content.pop("trials")]
        return MethodScores(**content, trials=trials)
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {SCORES}: name a finished run's folder") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / SCORES} is damaged ({error}): run its method anew") from error


def split_fingerprint(examples: Iterable[Any]) -> str:
    """16 hexadecimal digits for the set of dev examples: ids and, of texts, their raw form too.

    Ids alone may be numbers of rows, and so the same for another file.
    """
    contents = sorted(f"{example.id} {getattr(example, 'raw', '')}" for example in examples)
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]


def summary(values: Sequence[float], percent: bool = True) -> str:
    """Median and, of three values or more, interquartile range: `86.4 (86.1-86.7)`."""
    if not values:
        return ""
    scale = 100 if percent else 1
    low, middle, high = scale * np.quantile(values, [0.25, 0.5, 0.75])
    spread = f" ({low:.1f}–{high:.1f})" if len(values) > 2 else ""
    return f"{middle:.1f}{spread}"


def comparison(folders: Sequence[Path]) -> str:
    """Markdown: one line a method, medians (interquartile ranges) in percent; confusion matrices.

    Args:
        folders: each with a scores.json, or with folders that have one.
    Raises:
        InputError: no scores, or two methods of one task that saw different dev splits.
    """
    by_task: dict[str, list[MethodScores]] = defaultdict(list)
    for folder in expand(folders):
        scores = read_scores(folder)
        by_task[scores.task].append(scores)
    for task, methods in by_task.items():
        check_same_split(task, methods)
    return "\n\n".join(section(task, methods) for task, methods in by_task.items()) + "\n"


def expand(folders: Sequence[Path]) -> list[Path]:
    """The folders that hold a scores.json, those below the given ones included, each once."""
    holders: dict[Path, Path] = {}
    for folder in folders:
        below = [path.parent for path in sorted(folder.rglob(SCORES))]
        if not below:
            raise InputError(
                f"--runs {folder}: no {SCORES} there: name folders of finished runs of "
                "launch/finetune.py"
            )
        for path in below:
            holders.setdefault(path.resolve(), path)
    return list(holders.values())


def check_same_split(task: str, methods: Sequence[MethodScores]) -> None:
    """Raise `InputError` for methods that were not measured on the same examples."""
    splits = {method.split: method.method for method in methods}
    if len(splits) > 1:
        names = " and ".join(list(splits.values())[:2])
        raise InputError(
            f"task {task}: {names} were scored on different dev examples, so they cannot stand in "
            "one table: run both on the same files and task.dev_fraction"
        )


def section(task: str, methods: Sequence[MethodScores]) -> str:
    """One task: its table, best method last, and the confusion matrices."""
    shown = [metric for metric in METRICS if any(m.values(metric) for m in methods)]
    shown = shown or [methods[0].metric]
    ordered = sorted(methods, key=lambda m: sorted(m.values(shown[0]))[len(m.trials) // 2])
    further = dict.fromkeys(name for m in methods for trial in m.trials for name in trial.further)
    scored = (s for s in ("test", *further) if any(m.values(shown[0], s) for m in methods))
    columns = [(split, metric) for split in ("dev", *scored) for metric in shown]
    header = ["method", "seeds", *(f"{split} {metric}" for split, metric in columns), "minutes"]
    rows = [
        [
            *(m.method, len(m.trials)),
            *(summary(m.values(metric, split)) for split, metric in columns),
            f"{m.middle().seconds / 60:.1f}",
        ]
        for m in ordered
    ]
    parts = [f"## {markdown(task)}", table(header, rows)]
    matrices = [m for m in reversed(ordered) if m.middle().confusion]
    if matrices:
        parts.append("### Confusion matrices (dev; the median seed)")
    for method in matrices:
        matrix = confusion_table(method.middle().confusion, method.labels)
        parts += [f"**{markdown(method.method)}**", matrix]
    return "\n\n".join(parts)
