"""What can be chosen of an ablation: a grid of runs that differ in the studied axis alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, Optional

from configs.ablation_metrics import METRICS, TASKS
from configs.checks import require, require_choice, require_seeds, require_visible
from configs.finetune_schema import FinetuneConfig
from configs.loader import flat
from configs.schema import PretrainConfig

MARGIN = re.compile(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?( ?%)?")
"""a number, or a percentage"""


@dataclass(frozen=True)
class DownstreamConfig:
    """A task that the encoder of every run is fine-tuned on."""

    OPEN = {"fields": FinetuneConfig}  # noqa: RUF012  (no field: for hints of `check_keys`)

    config: str = ""
    """name or path of a fine-tuning configuration, e.g. finetune/sst2.yaml"""
    fields: dict[str, Any] = field(default_factory=dict)
    """its fields that are changed here, nested or with dots"""
    seeds: Optional[list[int]] = None
    """a trial of each encoder for each; null: those of the configuration"""
    metrics: list[str] = field(default_factory=list)
    """dev scores that become columns; empty: the one by which the task selects"""

    def __post_init__(self) -> None:
        require(bool(self.config), "tasks: config is missing: name one, e.g. finetune/sst2.yaml")
        require_seeds("tasks: seeds", [0] if self.seeds is None else self.seeds)


@dataclass(frozen=True)
class BudgetConfig:
    """What all rows get the same of."""

    of: Literal["recipe", "tokens", "flops", "minutes", "bytes"] = "recipe"
    """recipe: each row trains as long as its own schedule says; tokens; flops: useful ones, by
    pretrain/model/flops.py, with all sequences full; minutes, by the clock of one machine; or bytes
    of training text, by the rows' stores. Each row's schedule.max_* follows"""
    amount: Optional[float] = None
    """how many; null: what the baseline's own schedule comes to"""

    def __post_init__(self) -> None:
        require(
            self.amount is None or 0 < self.amount < float("inf"),
            f"budget.amount={self.amount} must be above 0 and finite",
        )
        require(
            self.amount is None or self.of != "recipe",
            f"budget.amount={self.amount} of what? set budget.of=tokens, flops, minutes or bytes",
        )


@dataclass(frozen=True)
class ScaleConfig:
    """A size at which the whole ablation runs; null: as in the ablation itself."""

    OPEN = {"fields": PretrainConfig}  # noqa: RUF012

    recipe: Optional[str] = None
    """in place of the ablation's `recipe`"""
    fields: dict[str, Any] = field(default_factory=dict)
    """fields of the recipe that are changed at this scale; they override the ablation's `fields`"""
    seeds: Optional[list[int]] = None
    """in place of the ablation's `seeds`"""
    baseline: Optional[str] = None
    """in place of the ablation's `baseline`"""
    axes: Optional[dict[str, dict[str, dict[str, Any]]]] = None
    """in place of the ablation's `axes`"""
    tune: Optional[dict[str, list[Any]]] = None
    """in place of the ablation's `tune`"""
    budget: Optional[BudgetConfig] = None
    """in place of the ablation's `budget`"""
    tasks: Optional[list[DownstreamConfig]] = None
    """in place of the ablation's `tasks`"""


@dataclass(frozen=True)
class AblationConfig:
    """One ablation: rows, seeds, what is measured, and what a paper reports."""

    OPEN = {"fields": PretrainConfig}  # noqa: RUF012

    run_dir: str = "runs/ablations/unnamed"
    """folder of all its runs; default: runs/ablations/<name of the config>"""
    title: str = ""
    """of the table"""
    question: str = ""
    """what the table answers, in one sentence"""
    source: str = ""
    """where the reference figures stand, e.g. RoBERTa, table 1"""
    recipe: str = "small.yaml"
    """name or path of the pretraining configuration that all runs start from"""
    fields: dict[str, Any] = field(default_factory=dict)
    """its fields that are changed in all runs, nested or with dots"""
    scale: str = "tiny"
    """which of `scales` runs unless --scale says otherwise"""
    scales: dict[str, ScaleConfig] = field(default_factory=dict)
    """sizes at which the ablation can run"""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """of pretraining: every row is trained with each; rows with equal seeds are pairs"""
    most_seeds: Optional[int] = None
    """add pretraining seeds, one after the other, until every verdict is decided, or there are so
    many: looking after each is paid for, so choose it before you look; null: `seeds` alone"""
    axes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """axis -> choice -> fields, e.g. {masking: {static: {mask_epochs: 10}, dynamic: {}}}; the
    product of all axes makes the rows. A choice may name another `recipe`; fields that begin with
    `finetune.` belong to the tasks"""
    cumulative: bool = False
    """for a single axis: each choice keeps the fields of those before it"""
    apart: list[str] = field(default_factory=list)
    """choices of a cumulative axis that take no fields from those before and pass none on"""
    baseline: Optional[str] = None
    """the row that the others are compared with; null: the first"""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    tune: dict[str, list[Any]] = field(default_factory=dict)
    """one field and its values: every row tries them on the first seed, and keeps the one with the
    lowest held-out MLM loss for its other seeds"""
    tune_edge: Literal["refuse", "grow"] = "refuse"
    """where the best of a row's numbers is the least or the largest: refuse: the row gets no
    verdict, for a better one may lie beyond; grow: it tries tune_factor times, or a tune_factor-th
    of, that number as well, and again, at most tune_growth times"""
    tune_factor: float = 2.0
    """by how much the next number is larger, or smaller"""
    tune_growth: int = 4
    """most numbers that a row adds to its list"""
    tasks: list[DownstreamConfig] = field(default_factory=list)
    """what every encoder is fine-tuned on"""
    rivals: list[str] = field(default_factory=list)
    """further rows: classical methods (see `model` of fine-tuning) on the same tasks"""
    metrics: list[str] = field(default_factory=lambda: ["perplexity", "mlm_loss"])
    """of pretraining: mlm_loss, perplexity, mlm_accuracy, bits_per_byte, nsp_accuracy (held-out),
    word_bits_per_byte (of words that are the same for every tokenizer), plateau_left_at_tokens (the
    first evaluation 0.5 nats under the unigram distribution), fertility (tokens per word),
    parameters; the first is shown in progress lines"""
    same_within: dict[str, Any] = field(default_factory=dict)
    """metric -> the difference that does not matter, in the units of the table or, as "1%", of the
    baseline: a row that is certainly closer counts as the same. `tasks` stands for all scores of
    tasks, in points; a metric without one, or with null, is never called the same"""
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """row -> metric -> what the paper prints; rows that the scale does not run are left out"""

    def __post_init__(self) -> None:
        require_visible("run_dir", self.run_dir)
        require_visible("recipe", self.recipe)
        require_seeds("seeds", self.seeds)
        fewest = max(3, len(self.seeds))
        require(
            self.most_seeds is None or self.most_seeds >= fewest,
            f"most_seeds={self.most_seeds} must be at least {fewest}: there are {len(self.seeds)} "
            "seeds, and no verdict before the third",
        )
        self._check_axes()
        self._check_metrics()
        self._check_same_within()
        if self.scales:
            require_choice("scale", self.scale, self.scales, "is none of this ablation's")

    def _check_axes(self) -> None:
        for axis, choices in self.axes.items():
            require(len(choices) > 0, f"axes.{axis} has no choices: name some")
        require(
            not self.cumulative or len(self.axes) <= 1,
            f"cumulative is for a single axis, not for {', '.join(self.axes)}: set it to false",
        )
        known = [choice for choices in self.axes.values() for choice in choices]
        for name in self.apart:
            require(self.cumulative, f"apart: {name} stands alone anyway: set cumulative=true")
            require(name in known, f"apart: no choice is called {name}: {', '.join(known)}")
        rows = self.rows()
        if rows:
            require_choice("baseline", self.baseline, rows, "is no row")
        require(
            len(self.tune) <= 1 and all(self.tune.values()),
            f"tune: {', '.join(self.tune)}: name one field, and values for it",
        )
        require(
            1 < self.tune_factor < float("inf"), f"tune_factor={self.tune_factor} must be above 1"
        )
        require(self.tune_growth >= 0, f"tune_growth={self.tune_growth} must not be negative")
        for name, values in self.tune.items():
            require(
                all(isinstance(value, (int, float, str)) for value in values),
                f"tune.{name}: values are numbers or words",
            )

    def _check_metrics(self) -> None:
        for name in self.metrics:
            known = ", ".join(METRICS)
            require(name in METRICS, f"metrics: no run has {name}: choose from {known}")
        require(
            bool(self.metrics or self.tasks),
            "metrics and tasks are both empty: name what to measure",
        )
        require(
            not self.rivals or bool(self.tasks), "rivals need tasks: name one, e.g. finetune/tweets"
        )

    def _check_same_within(self) -> None:
        for name, within in flat(self.same_within).items():
            require(
                name in (*METRICS, TASKS) or "." in name,
                f"same_within: no metric is called {name}: choose from {', '.join(METRICS)}, "
                f"{TASKS}, or name a task's score, e.g. sst2.accuracy",
            )
            text = "1" if within is None else str(within)
            require(
                MARGIN.fullmatch(text) is not None and float(text.rstrip("% ")) > 0,
                f"same_within.{name}={within} is no difference: write a number above 0, or a "
                "percentage such as 1%",
            )

    def rows(self) -> list[str]:
        """Names of the rows that pretrain, in order: choices of all axes, with commas."""
        return [", ".join(choice) for choice in product(*self.axes.values())] if self.axes else []

    def at(self, name: str | None = None, seeds: int | None = None) -> AblationConfig:
        """The ablation at one of its scales, with what that scale sets in place.

        Args:
            name: null: `scale`.
            seeds: how many, counted from 0; None: as configured.
        Raises:
            InputError: there is no such scale, or nothing to compare.
        """
        name = name or self.scale
        require(
            name in self.scales,
            f"--scale {name}: this ablation has {', '.join(self.scales) or 'none'}: choose one",
        )
        chosen = self.scales[name]
        own = {
            key: value
            for key in ("recipe", "seeds", "baseline", "axes", "tune", "budget", "tasks")
            if (value := getattr(chosen, key)) is not None
        }
        if seeds is not None:
            own["seeds"] = list(range(seeds))
        fields = {**flat(self.fields), **flat(chosen.fields)}
        made = replace(self, **own, scale=name, fields=fields)
        require(bool(made.axes), "axes is empty: name the choices to compare")
        return made


def slug(name: str) -> str:
    """A row's name as a folder's: letters, digits, `.`, `=` and `-`."""
    return re.sub(r"[^\w.=-]+", "-", name).strip("-").lower()
