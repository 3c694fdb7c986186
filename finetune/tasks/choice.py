"""One of several options (RACE; RoBERTa, section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from typing_extensions import override

from configs.errors import InputError
from finetune.data.example import ChoiceExample, Splits
from finetune.data.race import read_race
from finetune.data.split import answered_notes, heldout_mask, read_parts, require_labels
from finetune.data.tables import encoding_of
from finetune.tasks.feature import Feature
from finetune.tasks.task import Settings, Task
from finetune.tasks.text import softmax
from finetune.tasks.text_framing import frame
from tokenizer.base import Tokenizer


class ChoiceTask(Task[ChoiceExample, Feature, np.ndarray]):
    """An answer is the options' probabilities."""

    default_metric = "accuracy"

    @override
    def read(self) -> Splits[ChoiceExample]:
        encoding = encoding_of(self.config)
        read = partial(read_race, encoding=encoding)
        parts = read_parts(self.config, read, self._heldout)
        for name in ("train", "dev"):
            require_labels(parts[name])
        every = [example for part in parts.values() for example in part]
        most = max(len(example.options) for example in every)
        odd = next((example for example in every if len(example.options) != most), None)
        if odd:
            raise InputError(
                f"{odd.where}: {len(odd.options)} options where others have {most}: give "
                "every question the same number"
            )
        return Splits.of(parts, notes=[*encoding.notes, *answered_notes(parts)])

    def _heldout(self, examples: list[ChoiceExample]) -> np.ndarray:
        """All questions of a passage fall on the same side."""
        contexts = [example.context for example in examples]
        return heldout_mask(contexts, [""] * len(contexts), self.config.dev_fraction)

    @property
    @override
    def outputs(self) -> int:
        return 1

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
    def answers(
        self,
        examples: Sequence[ChoiceExample],
        features: Sequence[Feature],
        logits: Sequence[np.ndarray],
        settings: Settings,
    ) -> list[np.ndarray]:
        return [softmax(row) for row in logits]

    @override
    def scores(
        self, examples: Sequence[ChoiceExample], answers: Sequence[np.ndarray]
    ) -> dict[str, float]:
        right = [answer.argmax() == example.target for example, answer in zip(examples, answers)]
        return {"accuracy": float(np.mean(right))}

    @override
    def rows(
        self,
        examples: Sequence[ChoiceExample],
        answers: Sequence[np.ndarray],
    ) -> Iterator[dict[str, object]]:
        for example, answer in zip(examples, answers):
            letters = [chr(ord("A") + place) for place in range(len(answer))]
            known = {} if example.target is None else {"label": letters[example.target]}
            shares = {f"p({c})": round(float(p), 6) for c, p in zip(letters, answer)}
            prediction = letters[int(answer.argmax())]
            yield {"id": example.id, **known, "prediction": prediction, **shares}
