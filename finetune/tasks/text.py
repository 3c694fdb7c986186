"""One label, or one number, for a text or a pair (BERT, figure 4 a and b); one of several options
(RACE; RoBERTa, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from typing_extensions import override

from configs.errors import InputError
from finetune.data.example import ChoiceExample, Splits, TextExample, read_parts
from finetune.data.questions import read_race
from finetune.data.texts import read_text_splits
from finetune.scoring.metrics import classification_scores, regression_scores
from finetune.tasks.task import Answer, Feature, Rows, Scores, Task, frame
from tokenizer.base import Tokenizer

UNMERGED = "unmerged_"


class TextTask(Task[TextExample, Feature, Answer]):
    """What classification and regression share."""

    target_type: ClassVar[type[np.generic]]

    @override
    def read(self) -> Splits[TextExample]:
        splits = read_text_splits(self.config)
        self.labels = splits.labels
        return splits

    @override
    def features(self, examples: Sequence[TextExample], tokenizer: Tokenizer) -> list[Feature]:
        first = tokenizer.encode_batch([example.text for example in examples])
        second: Sequence[list[int] | None] = [None] * len(examples)
        if any(example.pair is not None for example in examples):
            second = tokenizer.encode_batch([example.pair or "" for example in examples])
        features = []
        for number, (example, a, b) in enumerate(zip(examples, first, second)):
            ids, segments, cut = frame(tokenizer, a, b, self.max_length)
            targets: np.ndarray = np.array([example.target or 0], self.target_type)
            features.append(Feature(number, (ids,), (segments,), targets, cut=cut))
        return features


class ClassificationTask(TextTask[np.ndarray]):
    """An answer is the probabilities of all labels, float32 (C).

    With `task.unmerged` the model learns labels that are merged only in its answers' rows and
    scores; those of the unmerged task bear `UNMERGED` in their names.
    """

    default_metric = "accuracy"
    target_type = np.int64

    @override
    def read(self) -> Splits[TextExample]:
        splits = super().read()
        if self.metric == "f1" and len(self.shown_labels) != 2:
            raise InputError(
                f"task.metric=f1 is for two labels, but there are {len(self.shown_labels)}: take "
                "macro_f1"
            )
        if len(self.shown_labels) != 2:
            return splits
        note = f"f1 is that of the label {self.shown_labels[1]}, the second (task.labels)"
        return replace(splits, notes=(*splits.notes, note))

    @property
    @override
    def shown_labels(self) -> tuple[str, ...]:
        merged = [self.config.merge.get(label, label) for label in self.labels]
        return tuple(dict.fromkeys(merged))

    @property
    def places(self) -> list[int]:
        """Of every label learnt, its place among those shown."""
        shown = self.shown_labels
        return [shown.index(self.config.merge.get(label, label)) for label in self.labels]

    @override
    def answer(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)

    def merged(self, answer: np.ndarray) -> np.ndarray:
        """The probabilities of the labels shown."""
        return np.bincount(self.places, answer, len(self.shown_labels))

    @override
    def scores(self, examples: Sequence[TextExample], answers: Sequence[np.ndarray]) -> Scores:
        fine, places = [example.label for example in examples], self.places
        gold = [places[label] for label in fine]
        predicted = [int(self.merged(answer).argmax()) for answer in answers]
        scores = classification_scores(gold, predicted, len(self.shown_labels))
        if not self.config.unmerged:
            return scores
        predicted = [int(answer.argmax()) for answer in answers]
        unmerged = classification_scores(fine, predicted, len(self.labels))
        return scores | {f"{UNMERGED}{name}": value for name, value in unmerged.items()}

    @override
    def rows(self, examples: Sequence[TextExample], answers: Sequence[np.ndarray]) -> Rows:
        for example, answer in zip(examples, answers):
            place = example.label if example.is_labelled else None
            known = None if place is None else self.places[place]
            row = {"id": example.id, **row_of(self.merged(answer), known, self.shown_labels)}
            if self.config.unmerged:
                fine = row_of(answer, place, self.labels)
                row |= {f"{UNMERGED}{name}": value for name, value in fine.items()}
            yield row


def row_of(answer: np.ndarray, target: int | None, labels: Sequence[str]) -> dict[str, object]:
    """Columns label (where known), prediction, and p(...) of each label."""
    known = {} if target is None else {"label": labels[target]}
    shares = {f"p({label})": round(float(p), 6) for label, p in zip(labels, answer)}
    return {**known, "prediction": labels[int(answer.argmax())], **shares}


class RegressionTask(TextTask[float]):
    """An answer is a number."""

    default_metric = "pearson"
    target_type = np.float32

    @override
    def answer(self, logits: np.ndarray) -> float:
        return float(logits[0])

    @override
    def scores(self, examples: Sequence[TextExample], answers: Sequence[float]) -> Scores:
        return regression_scores([example.number for example in examples], answers)

    @override
    def rows(self, examples: Sequence[TextExample], answers: Sequence[float]) -> Rows:
        for example, answer in zip(examples, answers):
            known = {} if example.target is None else {"label": example.target}
            yield {"id": example.id, **known, "prediction": round(answer, 6)}


class ChoiceTask(Task[ChoiceExample, Feature, np.ndarray]):
    """An answer is the options' probabilities."""

    default_metric = "accuracy"

    @override
    def read(self) -> Splits[ChoiceExample]:
        parts, notes = read_parts(self.config, read_race, lambda asked: asked.context)
        every = [example for part in parts.values() for example in part]
        most = max(len(example.options) for example in every)
        odd = next((example for example in every if len(example.options) != most), None)
        if odd:
            raise InputError(
                f"{odd.where}: {len(odd.options)} options where others have {most}: give "
                "every question the same number"
            )
        return Splits(parts, notes=tuple(notes))

    @override
    def features(self, examples: Sequence[ChoiceExample], tokenizer: Tokenizer) -> list[Feature]:
        contexts = tokenizer.encode_batch([example.context for example in examples])
        texts = [
            " ".join(f"{example.question} {option}".split())
            for example in examples
            for option in example.options
        ]
        options = iter(tokenizer.encode_batch(texts))
        features = []
        for number, (example, context) in enumerate(zip(examples, contexts)):
            # `options` runs over all questions: each takes as many as it has.
            framed = [
                frame(tokenizer, context, next(options), self.max_length) for _ in example.options
            ]
            ids, segments, cut = zip(*framed)
            targets = np.array([example.target or 0])
            features.append(Feature(number, ids, segments, targets, cut=sum(cut)))
        return features

    @override
    def answer(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)

    @override
    def scores(self, examples: Sequence[ChoiceExample], answers: Sequence[np.ndarray]) -> Scores:
        right = [answer.argmax() == example.target for example, answer in zip(examples, answers)]
        return {"accuracy": float(np.mean(right))}

    @override
    def rows(self, examples: Sequence[ChoiceExample], answers: Sequence[np.ndarray]) -> Rows:
        for example, answer in zip(examples, answers):
            letters = [chr(ord("A") + place) for place in range(len(answer))]
            yield {"id": example.id, **row_of(answer, example.target, letters)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of one row of logits."""
    powers: np.ndarray = np.exp(logits - logits.max())
    probabilities: np.ndarray = powers / powers.sum()
    return probabilities
