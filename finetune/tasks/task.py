"""The one interface of all kinds of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from configs.task_schema import TaskConfig
from finetune.data.example import Example, Splits
from finetune.tasks.feature import Feature
from tokenizer.base import Tokenizer

FeatureT = TypeVar("FeatureT", bound=Feature)
Answer = TypeVar("Answer")
Settings = dict[str, Any]
"""what answers need beyond the weights (a threshold chosen on dev, say): plain JSON"""


class Task(ABC, Generic[Example, FeatureT, Answer]):
    """Reads examples, frames them for the encoder, and turns its logits into scored answers."""

    default_metric: ClassVar[str]

    def __init__(self, config: TaskConfig, max_length: int, labels: Sequence[str] = ()) -> None:
        """`labels` are those of a model that was trained before; `read` finds them anew."""
        self.config, self.max_length, self.labels = config, max_length, tuple(labels)

    @property
    def metric(self) -> str:
        """The score that runs are compared by; higher is better."""
        return self.config.metric or self.default_metric

    @abstractmethod
    def read(self) -> Splits[Example]:
        """The examples. `InputError` names file and row of the first that is wrong."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Width of the head's last linear map."""

    @property
    def shown_labels(self) -> tuple[str, ...]:
        """The labels of tables and predictions: those learnt, but for merged ones."""
        return self.labels

    @abstractmethod
    def features(self, examples: Sequence[Example], tokenizer: Tokenizer) -> list[FeatureT]:
        """What the model sees; targets are zeros (tagging: -100) where an example has none."""

    def reading_notes(
        self, name: str, examples: Sequence[Example], features: Sequence[FeatureT]
    ) -> Iterator[str]:
        """How much of a split's examples the model does not see."""
        cut = [feature.cut for feature in features if feature.cut]
        beyond = f"longer than max_length={self.max_length} tokens"
        if not cut:
            yield f"{name}: none of {len(examples):,} examples is {beyond}"
            return
        tokens = sum(cut) + sum(feature.tokens for feature in features)
        yield (
            f"{name}: {len(cut):,} of {len(examples):,} examples are {beyond} and are cut: "
            f"{sum(cut):,} of {tokens:,} tokens are not read"
        )

    @abstractmethod
    def answers(
        self,
        examples: Sequence[Example],
        features: Sequence[FeatureT],
        logits: Sequence[np.ndarray],
        settings: Settings,
    ) -> list[Answer]:
        """One answer an example, in order.

        Args:
            logits: float32, one array a feature: classification (classes), regression (1), choice
                (options), tagging (tokens, labels), span (tokens, 2).
        """

    def choose_settings(
        self,
        examples: Sequence[Example],  # noqa: ARG002 - most kinds have nothing to choose
        answers: Sequence[Answer],  # noqa: ARG002
    ) -> Settings:
        """What is best chosen on dev, from answers made with `settings={}`."""
        return {}

    @abstractmethod
    def scores(self, examples: Sequence[Example], answers: Sequence[Answer]) -> dict[str, float]:
        """Every metric by name, in [0, 1] or [-1, 1] for correlations; `self.metric` is one."""

    @abstractmethod
    def rows(
        self, examples: Sequence[Example], answers: Sequence[Answer]
    ) -> Iterator[dict[str, object]]:
        """Lines of predictions.csv: id, label (where known), prediction, probabilities."""


AnyTask = Task[Any, Any, Any]
"""of a kind that only the configuration knows"""
