"""One trial for every seed and every point of the grid."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import dump_config


@dataclass(frozen=True)
class Trial:
    """One training run."""

    config: FinetuneConfig
    """with the grid's values in place"""
    seed: int
    values: dict[str, float]
    """what the grid chose here"""

    @property
    def point(self) -> str:
        """The grid's values in a word that can name a folder; empty without a grid."""
        return "_".join(
            f"{name.rpartition('.')[2]}={value:g}" for name, value in self.values.items()
        )

    @property
    def name(self) -> str:
        """Of folders and curves."""
        return "_".join(filter(None, (self.point, f"seed={self.seed}")))

    def fingerprint(self, weights: str) -> str:
        """sha256 of all that decides its result; `weights` is the encoder's own."""
        recipe = replace(self.config, run_dir="", seeds=[self.seed], grid={}, log_every_steps=1)
        return hashlib.sha256(f"{dump_config(recipe)}{weights}".encode()).hexdigest()


def make_trials(config: FinetuneConfig) -> list[Trial]:
    """All trials: the grid's points, and for each all seeds.

    Raises:
        InputError: the grid names no field, or a value that the field refuses.
    """
    names = list(config.grid)
    trials = []
    for point in itertools.product(*config.grid.values()):
        values = dict(zip(names, point))
        chosen = config
        for name, value in values.items():
            chosen = with_field(chosen, name.split("."), value, name)
        trials += [Trial(chosen, seed, values) for seed in config.seeds]
    return trials


def with_field(config: Any, path: list[str], value: float, name: str) -> Any:
    """A copy of a configuration with one number, at any depth, changed."""
    head, *rest = path
    if not is_dataclass(config) or head not in {f.name for f in fields(config)}:
        raise InputError(f"grid: no field is called {name}: write it as in --help")
    old = getattr(config, head)
    if rest:
        return replace(config, **{head: with_field(old, rest, value, name)})
    if isinstance(old, (str, bool, list, dict)) or is_dataclass(old):
        raise InputError(f"grid.{name}: a grid is for numbers: run the command once for each value")
    is_whole = isinstance(old, int) and float(value).is_integer()
    return replace(config, **{head: int(value) if is_whole else value})
