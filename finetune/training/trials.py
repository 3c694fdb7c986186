"""One trial for every seed and every point of the grid."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import recipe_text
from configs.schema import CollectiveConfig, SafetyConfig
from configs.system.run_folder import RunFolder

YOUNG = (
    *("optimizer.matrix_learning_rate", "optimizer.momentum"),
    *("schedule.decay_fraction", "schedule.decay_shape"),
    *("engine.compile", "engine.residual"),
)
"""fields that are younger than the first results, which still count"""
SHARED = (
    *("run_dir", "model", "reinitialise", "seeds", "grid", "max_length", "task", "adapt"),
    *("checkpoint", "safety"),
)
"""fields that all trials have in common: examples are read and framed once"""


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
        return "_".join(f"{n.rpartition('.')[2]}={value:g}" for n, value in self.values.items())

    @property
    def name(self) -> str:
        """Of folders and curves."""
        return "_".join(filter(None, (self.point, f"seed={self.seed}")))

    @property
    def folder(self) -> Path:
        """What it leaves is in here."""
        return RunFolder(Path(self.config.run_dir)).trial(self.name).path

    def fingerprint(self, contents: str) -> str:
        """sha256 of all that decides its result.

        Args:
            contents: hash of the encoder's weights and of the examples; where they lie is free.
        """
        config = self.config
        recipe = replace(
            config,
            run_dir="",
            model=None,
            seeds=[self.seed],
            grid={},
            log_every_steps=1,
            safety=SafetyConfig(),
            # Its other fields decide nothing, and are hashed as they were at first.
            collective=CollectiveConfig(compression=config.collective.compression, overlap=False),
            task=replace(config.task, folder=""),
            adapt=replace(config.adapt, cache=""),
        )
        text = recipe_text(recipe, without=("checkpoint", "csv_safe"), young=YOUNG)
        return hashlib.sha256(f"{text}{contents}".encode()).hexdigest()


def make_trials(config: FinetuneConfig) -> list[Trial]:
    """All trials: the grid's points, and for each all seeds.

    Raises:
        InputError: the grid names no field that may differ between trials, a value that the field
            refuses, or a value twice.
    """
    names = list(config.grid)
    for name in names:
        if name.split(".")[0] in SHARED:
            raise InputError(
                f"grid.{name}: all trials of a run share it: run the command once for each value"
            )
    trials: list[Trial] = []
    for point in itertools.product(*config.grid.values()):
        values = dict(zip(names, point))
        chosen = config
        for name, value in values.items():
            chosen = with_field(chosen, name.split("."), value, name)
        trials += [Trial(chosen, seed, values) for seed in config.seeds]
    twice = [name for name, number in Counter(t.name for t in trials).items() if number > 1]
    if twice:
        raise InputError(
            f"grid: two trials would be called {twice[0]}: name each value once, with at most six "
            "digits"
        )
    return trials


def with_field(config: Any, path: list[str], value: float, name: str) -> Any:
    """A copy of a configuration with one number, at any depth, changed."""
    head, *rest = path
    types = get_type_hints(type(config)) if is_dataclass(config) else {}
    if head not in types:
        raise InputError(f"grid: no field is called {name}: write it as in --help")
    if rest:
        return replace(config, **{head: with_field(getattr(config, head), rest, value, name)})
    kind = types[head]
    kinds = get_args(kind) if get_origin(kind) is Union else (kind,)
    if float in kinds:
        return replace(config, **{head: float(value)})
    if int not in kinds:
        raise InputError(f"grid.{name}: a grid is for numbers: run the command once for each value")
    if not float(value).is_integer():
        raise InputError(f"grid.{name}: {value:g} is no whole number: give one")
    return replace(config, **{head: int(value)})
