"""Which held-out figures of two rows do not compare, because they measure different things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.ablation.measurements import Row

PER_TOKEN = ("mlm_loss", "perplexity", "mlm_accuracy", "plateau_left_at_tokens")
HELD_OUT = (*PER_TOKEN, "bits_per_byte", "word_bits_per_byte", "nsp_accuracy")


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
CAVEATS = (
    Confounder(
        ("evaluation.input_format", "evaluation.max_length"),
        HELD_OUT,
        "Held-out figures are measured in each row's own input format and length, so their "
        "differences hold what the format does to the measurement too: evaluation.input_format and "
        "evaluation.max_length give all rows one; the downstream tasks are free of that.",
    ),
    Confounder(
        ("data.sources", "data.heldout_fraction", "data.language", "evaluation.sequences"),
        HELD_OUT,
        "Rows are not scored on the same held-out text, so the differences of held-out figures "
        "hold what the text does to them too; the downstream tasks are free of that.",
    ),
)
"""what is said of differences that are shown all the same"""
ROW_ON_PLATEAU = "on the plateau of the unigram distribution"
BASELINE_ON_PLATEAU = f"the baseline is {ROW_ON_PLATEAU}"


def differing(row: Row, other: Row) -> Iterator[str]:
    """Names of the settings that are not the same, or are given for one row only.

    What a row's held-out text is measured by counts as it came out, where both rows have it.
    """
    ours, theirs = dict(row.settings), dict(other.settings)
    if row.measure and other.measure:
        ours, theirs = ours | row.measure, theirs | other.measure
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            yield name


def refusal(metric: str, row: Row, other: Row) -> str:
    """Why there is no difference of this metric between the rows; empty where there is one."""
    return (
        confounded(metric, row, other) or untuned(row, other) or without_verdict(metric, row, other)
    )


def untuned(row: Row, baseline: Row) -> str:
    """Why a row tells nothing against the baseline, as one of them has not found its best value of
    the tuned field; empty where both have."""
    if row.beyond:
        return row.beyond
    return f"of the baseline {baseline.beyond}" if baseline.beyond else ""


def confounded(metric: str, row: Row, other: Row) -> str:
    """Why the metric measures something else in each of the rows; empty where it does not."""
    reasons = (c.reason for c in CONFOUNDERS if metric in c.metrics and c.holds(row, other))
    return next(reasons, "")


def without_verdict(metric: str, row: Row, baseline: Row) -> str:
    """Why a row's held-out figure gets no verdict against the baseline's; empty where it gets one.

    What rows on the plateau differ in is how fast frequencies are learnt; one run there is enough.
    """
    if metric not in HELD_OUT:
        return ""
    if row.on_plateau:
        return ROW_ON_PLATEAU
    return BASELINE_ON_PLATEAU if baseline.on_plateau else ""
