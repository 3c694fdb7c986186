"""One label, or one number, for a text or a pair (BERT, figure 4 a and b)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from finetune.data.texts import read_text_splits
from finetune.example import Feature, Splits, TextExample
from finetune.metrics import classification_scores, regression_scores
from finetune.tasks.base import Task
from finetune.tasks.framing import frame
from tokenizer.base import Tokenizer


class TextTask(Task):
    """What classification and regression share."""

    target_type: type

    def read(self) -> Splits[TextExample]:
        return read_text_splits(self.config)

    def features(
        self, examples: Sequence[TextExample], tokenizer: Tokenizer, segment_types: int
    ) -> list[Feature]:
        first = tokenizer.encode_batch([example.text for example in examples])
        pairs = [example.pair for example in examples]
        second: Sequence[list[int] | None] = pairs
        if any(pair is not None for pair in pairs):
            second = tokenizer.encode_batch([pair or "" for pair in pairs])
        return [
            self._feature(number, example, frame(tokenizer, a, b, self.max_length))
            for number, (example, a, b) in enumerate(zip(examples, first, second))
        ]

    def _feature(
        self, number: int, example: TextExample, framed: tuple[np.ndarray, np.ndarray]
    ) -> Feature:
        ids, segments = framed
        targets = np.array([example.target or 0], self.target_type)
        return Feature(number, (ids,), (segments,), targets)


class ClassificationTask(TextTask):
    """An answer is the classes' probabilities, float32 (C)."""

    default_metric = "accuracy"
    target_type = np.int64

    def outputs(self, labels: Sequence[str]) -> int:
        return len(labels)

    def answers(
        self,
        examples: Sequence[TextExample],
        features: Sequence[Feature],
        logits: Sequence[np.ndarray],
        settings: dict[str, Any],
    ) -> list[np.ndarray]:
        return [softmax(row) for row in logits]

    def scores(
        self, examples: Sequence[TextExample], answers: Sequence[np.ndarray]
    ) -> dict[str, float]:
        gold = [example.target for example in examples]
        predicted = [int(answer.argmax()) for answer in answers]
        return classification_scores(gold, predicted, len(answers[0]))

    def rows(
        self,
        examples: Sequence[TextExample],
        answers: Sequence[np.ndarray],
        labels: Sequence[str],
    ) -> Iterator[dict[str, object]]:
        for example, answer in zip(examples, answers):
            known = {} if example.target is None else {"label": labels[example.target]}
            probabilities = {f"p({label})": round(float(p), 6) for label, p in zip(labels, answer)}
            prediction = labels[int(answer.argmax())]
            yield {"id": example.id, **known, "prediction": prediction, **probabilities}


class RegressionTask(TextTask):
    """An answer is a number."""

    default_metric = "pearson"
    target_type = np.float32

    def outputs(self, labels: Sequence[str]) -> int:
        return 1

    def answers(
        self,
        examples: Sequence[TextExample],
        features: Sequence[Feature],
        logits: Sequence[np.ndarray],
        settings: dict[str, Any],
    ) -> list[float]:
        return [float(row[0]) for row in logits]

    def scores(self, examples: Sequence[TextExample], answers: Sequence[float]) -> dict[str, float]:
        return regression_scores([example.target for example in examples], answers)

    def rows(
        self, examples: Sequence[TextExample], answers: Sequence[float], labels: Sequence[str]
    ) -> Iterator[dict[str, object]]:
        for example, answer in zip(examples, answers):
            known = {} if example.target is None else {"label": example.target}
            yield {"id": example.id, **known, "prediction": round(answer, 6)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of one row of logits."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
