"""The table of all methods, side by side on the same dev split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from configs.errors import InputError
from configs.system.run_names import SCORES
from configs.system.safe_text import markdown
from finetune.report.markdown_tables import confusion_table, table
from finetune.scoring.method_scores import MethodScores, read_scores, summary

METRICS = ("accuracy", "macro_f1")
"""that are shown where a task has them; else the one that its runs are compared by"""


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
    splits = [
        "dev",
        *(s for s in ("test", *further) if any(m.values(shown[0], s) for m in methods)),
    ]
    header = ["method", "seeds", *(f"{split} {metric}" for split in splits for metric in shown)]
    rows = [
        [m.method, len(m.trials), *(summary(m.values(x, s)) for s in splits for x in shown)]
        for m in ordered
    ]
    parts = [
        f"## {markdown(task)}",
        table([*header, "minutes"], [[*r, minutes(m)] for r, m in zip(rows, ordered)]),
    ]
    matrices = [m for m in reversed(ordered) if m.middle().confusion]
    if matrices:
        parts.append("### Confusion matrices (dev; the median seed)")
    for method in matrices:
        parts += [
            f"**{markdown(method.method)}**",
            confusion_table(method.middle().confusion, method.labels),
        ]
    return "\n\n".join(parts)


def minutes(method: MethodScores) -> str:
    """How long one training took, in the middle."""
    return f"{method.middle().seconds / 60:.1f}"
