"""Which held-out figures of two rows do not compare, because they measure different things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.ablation.study import Row

PER_TOKEN = ("mlm_loss", "perplexity", "mlm_accuracy")
HELD_OUT = (*PER_TOKEN, "bits_per_byte")


@dataclass(frozen=True)
class Rule:
    """Metrics that say nothing about two rows which differ in one of the fields."""

    fields: tuple[str, ...]
    metrics: tuple[str, ...]
    reason: str

    def holds(self, row: Row, other: Row) -> bool:
        """Whether the rows differ in a field of the rule, or in one below it."""
        return any(
            name == field or name.startswith(f"{field}.")
            for name in differing(row, other)
            for field in self.fields
        )


RULES = (
    Rule(
        ("tokenizer", "data.store"),
        PER_TOKEN,
        "another tokenizer: figures per token do not compare, bits per byte do",
    ),
    Rule(("masking",), HELD_OUT, "the held-out text is masked in another way"),
)
CAVEAT = Rule(
    ("input_format", "max_length"),
    HELD_OUT,
    "Held-out figures are measured in each row's own input format and length, so their differences "
    "hold what the format does to the measurement too; the downstream tasks are free of that.",
)


def differing(row: Row, other: Row) -> Iterator[str]:
    """Names of the settings that are not the same, or are given for one row only."""
    for name in {**row.settings, **other.settings}:
        if row.settings.get(name) != other.settings.get(name):
            yield name


def refusal(metric: str, row: Row, other: Row) -> str:
    """Why there is no difference of this metric between the rows; empty where there is one."""
    reasons = (rule.reason for rule in RULES if metric in rule.metrics and rule.holds(row, other))
    return next(reasons, "")
