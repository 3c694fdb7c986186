"""What a pretraining run can be measured by: the columns that an ablation's table can have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A column of the table."""

    name: str
    label: str
    higher_is_better: bool
    digits: int = 2
    scale: float = 1.0
    """values are shown times this: 100 for shares in percent"""
    is_result: bool = True
    """False for a fact about the rows, such as their parameters, which says nothing of merit"""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("mlm_loss", "MLM loss", False, 3),
        Metric("perplexity", "perplexity", False, 1),
        Metric("mlm_accuracy", "masked accuracy (%)", True, 1, 100.0),
        Metric("bits_per_byte", "bits per byte", False, 3),
        Metric("word_bits_per_byte", "bits per byte of words", False, 3),
        Metric("plateau_left_at_tokens", "tokens until off the plateau (M)", False, 2, 1e-6),
        Metric("nsp_accuracy", "NSP accuracy (%)", True, 1, 100.0),
        Metric("fertility", "tokens per word", False, 3, is_result=False),
        Metric("parameters", "parameters (M)", False, 2, 1e-6, is_result=False),
    )
}
"""by name; `launch.ablation.measure` finds each in a run's last held-out record, or elsewhere"""
TASKS = "tasks"
"""stands for the scores of all downstream tasks where a setting is given by metric"""
