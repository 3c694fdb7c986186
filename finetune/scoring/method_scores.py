"""What every method, encoder or classical, leaves behind to be compared: `scores.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import InputError
from configs.system.files import make_folder, write_text
from configs.system.json_files import read_json
from configs.system.run_names import SCORES
from configs.system.safe_text import json_text
from configs.system.secrets import hide


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
        raise InputError(
            f"{folder} holds no {SCORES}: name the folder of a finished run"
        ) from error
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
