"""The one interface of all kinds of tasks, what the model sees of their examples, and how texts
become that: CLS a SEP, or what the checkpoint's tokenizer makes of a pair; windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from configs.task_schema import TaskConfig
from finetune.data.example import Example, Splits
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Feature:
    """What the model sees of an example: one sequence, or one per option; a long context makes
    several features."""

    example: int
    """index within its split"""
    ids: tuple[np.ndarray, ...]
    """int64 token ids of each sequence, special tokens included"""
    segments: tuple[np.ndarray, ...]
    """int64: 0 for segment A, 1 for segment B"""
    targets: np.ndarray
    """classification, choice: int64 (1); regression: float32 (1); span: int64 (2), places of start
    and end within the sequence, (0, 0) for none; tagging: int64 (tokens), -100 where no word
    starts"""
    cut: int = field(default=0, kw_only=True)
    """tokens of the example's texts that did not fit, and so are not read"""

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(map(len, self.ids))


FeatureT = TypeVar("FeatureT", bound=Feature)
Answer = TypeVar("Answer")
Settings = dict[str, Any]
"""what answers need beyond the weights (a threshold chosen on dev, say): plain JSON"""
Scores = dict[str, float]
"""by metric, in [0, 1] or [-1, 1] for correlations"""
Rows = Iterator[dict[str, object]]
"""of predictions.csv: id, label (where known), prediction, probabilities"""


class Task(ABC, Generic[Example, FeatureT, Answer]):
    """Reads examples, frames them for the encoder, and turns its logits into scored answers."""

    default_metric: ClassVar[str]
    unlabelled_outputs: ClassVar[int] = 1

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
    def outputs(self) -> int:
        """Width of the head's last linear map: the labels, where there are any."""
        return len(self.labels) or self.unlabelled_outputs

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

    def answers(
        self,
        examples: Sequence[Example],  # noqa: ARG002 - a kind with one feature an example needs
        features: Sequence[FeatureT],  # noqa: ARG002 - nothing but logits
        logits: Sequence[np.ndarray],
        settings: Settings,  # noqa: ARG002
    ) -> list[Answer]:
        """One answer an example, in order.

        Args:
            logits: float32, one array a feature: classification (classes), regression (1), choice
                (options), tagging (tokens, labels), span (tokens, 2).
        """
        return [self.answer(row) for row in logits]

    def answer(self, logits: np.ndarray) -> Answer:
        """What one feature's logits say, where each example has one feature."""
        raise NotImplementedError

    def choose_settings(
        self,
        examples: Sequence[Example],  # noqa: ARG002 - most kinds have nothing to choose
        answers: Sequence[Answer],  # noqa: ARG002
    ) -> Settings:
        """What is best chosen on dev, from answers made with `settings={}`."""
        return {}

    @abstractmethod
    def scores(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Scores:
        """Every metric; `self.metric` is one."""

    @abstractmethod
    def rows(self, examples: Sequence[Example], answers: Sequence[Answer]) -> Rows:
        """Lines of predictions.csv."""


AnyTask = Task[Any, Any, Any]
"""of a kind that only the configuration knows"""


def frame(
    tokenizer: Tokenizer, first: Sequence[int], second: Sequence[int] | None, max_length: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """(ids, segments, tokens cut off) of one or two texts, int64, at most `max_length` tokens.

    The longer of the two loses its last tokens first, as in BERT's released code.
    """
    special, framing = tokenizer.special, tokenizer.framing
    if second is None:
        ids = [special.cls, *first[: max_length - 2], special.sep]
        return np.array(ids), np.zeros(len(ids), np.int64), len(first) - (len(ids) - 2)
    keep_first, keep_second = shares(len(first), len(second), max_length - framing.special_tokens)
    head = pair_head(tokenizer, first[:keep_first])
    tail = [*second[:keep_second], special.sep]
    cut = len(first) - keep_first + len(second) - keep_second
    return np.array(head + tail), pair_segments(tokenizer, len(head), len(tail)), cut


def pair_head(tokenizer: Tokenizer, first: Sequence[int]) -> list[int]:
    """All of a pair that stands before its second text."""
    special = tokenizer.special
    return [special.cls, *first, *[special.sep] * tokenizer.framing.separators]


def pair_segments(tokenizer: Tokenizer, head: int, tail: int) -> np.ndarray:
    """The segments of `head` tokens, up to the second text, and of the `tail` that follows."""
    return np.repeat([0, tokenizer.framing.second_segment], [head, tail])


def shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts fit into `room` if the longer one gives way first."""
    if first + second <= room:
        return first, second
    keep_first = min(first, max(room - second, (room + 1) // 2))
    return keep_first, room - keep_first


def window_starts(tokens: int, room: int, stride: int) -> Iterator[int]:
    """Where windows of `room` tokens begin so that each of `tokens` is in one.

    They overlap by `stride`, but by half of a window at most: more would make them many.
    """
    step = max(room - stride, (room + 1) // 2)
    start = 0
    yield start
    while start + room < tokens:
        start += step
        yield start


@dataclass(frozen=True)
class Located:
    """A text's ids, and each one's characters: [starts, ends), without the space before a word."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def locate(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Located]:
    """Of each text its tokens and where they stand, by the `tokenizers` library's version."""
    located = []
    for text, encoding in zip(texts, tokenizer.new_backend().encode_batch(list(texts))):
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        starts, ends = offsets[:, 0].copy(), offsets[:, 1]
        for place, (start, end) in enumerate(zip(starts, ends)):
            # Pieces of byte-level BPE and SentencePiece begin with the space before their word.
            while start < end - 1 and text[start].isspace():
                start += 1
            starts[place] = start
        located.append(Located(np.array(encoding.ids, np.int64), starts, ends))
    return located
