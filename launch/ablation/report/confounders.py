"""Which held-out figures of two rows do not compare, because they measure different things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.ablation.measurements import Row

PER_TOKEN = ("mlm_loss", "perplexity", "mlm_accuracy")
HELD_OUT = (*PER_TOKEN, "bits_per_byte")


@dataclass(frozen=True)
class Confounder:
    """Fields which change what some metrics measure: the metrics say nothing of the merit of two
    rows that differ in one."""

    fields: tuple[str, ...]
    metrics: tuple[str, ...]
    reason: str

    def holds(self, row: Row, other: Row) -> bool:
        """Whether the rows differ in one of the fields, or in one below it."""
        return any(
            name == field or name.startswith(f"{field}.")
            for name in differing(row, other)
            for field in self.fields
        )


CONFOUNDERS = (
    Confounder(
        ("tokenizer", "data.store"),
        PER_TOKEN,
        "another tokenizer: figures per token do not compare, bits per byte do",
    ),
    # Whatever a run trains with, `masking` is not what its held-out text is masked by.
    Confounder(
        ("evaluation.mask_probability",), HELD_OUT, "the held-out text is masked in another way"
    ),
)
CAVEAT = Confounder(
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
    reasons = (c.reason for c in CONFOUNDERS if metric in c.metrics and c.holds(row, other))
    return next(reasons, "")
