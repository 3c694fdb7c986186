"""The span of a context that answers a question (BERT, sections 4.2 and 4.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from configs.errors import InputError
from finetune.data.example import SpanExample, Splits, are_labelled, read_parts
from finetune.data.questions import read_squad
from finetune.scoring.metrics import SPAN_RULES, SpanRules, best_scores, span_scores
from finetune.tasks.task import (
    Feature,
    Located,
    Rows,
    Scores,
    Settings,
    Task,
    locate,
    pair_head,
    pair_segments,
    window_starts,
)
from tokenizer.base import Tokenizer

LONGEST_QUESTION = 64
"""tokens, as in BERT's released code"""
CANDIDATES = 20
"""best starts, and best ends, whose pairs are tried"""
THRESHOLD = "no_answer_threshold"
BELOW_ALL = -1e9
"""a threshold at which every question is answered"""


@dataclass(frozen=True)
class SpanAnswer:
    """The best span of all windows, and how it stands against no answer."""

    text: str
    """what is answered; empty for no answer"""
    span: str
    """the best span, whatever the threshold says"""
    margin: float
    """logit sum of the span minus that of no answer"""


@dataclass(frozen=True)
class SpanFeature(Feature):
    """A feature that knows its part of the context."""

    first: int
    """place of the first context token in the sequence"""
    starts: np.ndarray
    """first character of each context token"""
    ends: np.ndarray


class SpanTask(Task[SpanExample, SpanFeature, SpanAnswer]):
    """Sliding windows over contexts that are too long; with `no_answer`, a threshold from dev."""

    default_metric = "f1"
    unlabelled_outputs = 2

    @override
    def read(self) -> Splits[SpanExample]:
        parts, notes = read_parts(self.config, read_squad, lambda asked: asked.article, True)
        if not self.config.no_answer:
            asked = (e for part in parts.values() if are_labelled(part) for e in part)
            without = next((example for example in asked if not example.answers), None)
            if without:
                raise InputError(f"{without.where}: it has no answer: set task.no_answer=true")
        articles = (
            f"{name}: {len({example.article for example in parts[name]})} articles"
            for name in ("train", "dev")
        )
        return Splits(parts, notes=(*articles, *notes))

    @property
    def rules(self) -> SpanRules:
        """How answers are compared."""
        return SPAN_RULES[self.config.span_metric]

    @override
    def features(self, examples: Sequence[SpanExample], tokenizer: Tokenizer) -> list[SpanFeature]:
        # A passage has five questions and more in SQuAD: it is tokenised once.
        contexts = list(dict.fromkeys(example.context for example in examples))
        located = dict(zip(contexts, locate(tokenizer, contexts)))
        questions = tokenizer.encode_batch([example.question for example in examples])
        return [
            window
            for number, (example, asked) in enumerate(zip(examples, questions))
            for window in self._windows(number, example, asked, located[example.context], tokenizer)
        ]

    def _windows(
        self,
        number: int,
        example: SpanExample,
        asked: list[int],
        tokens: Located,
        tokenizer: Tokenizer,
    ) -> Iterator[SpanFeature]:
        cut = max(0, len(asked) - LONGEST_QUESTION)
        head = np.array(pair_head(tokenizer, asked[:LONGEST_QUESTION]))
        sep = tokenizer.special.sep
        room = self.max_length - len(head) - 1
        if room < 1:
            raise InputError(f"max_length={self.max_length} leaves no room for a context: raise it")
        answer = _token_span(example, tokens)
        for start in window_starts(len(tokens), room, self.config.stride):
            part = slice(start, start + room)
            ids = np.concatenate([head, tokens.ids[part], [sep]])
            segments = pair_segments(tokenizer, len(head), len(ids) - len(head))
            # CLS, at place 0, is the answer where this window does not hold the whole of it: half
            # an answer would teach that answers end where windows do.
            wanted = np.zeros(2, np.int64)
            if answer and start <= answer[0] and answer[1] < min(start + room, len(tokens)):
                wanted = np.array(answer) - start + len(head)
            starts, ends = tokens.starts[part], tokens.ends[part]
            yield SpanFeature(number, (ids,), (segments,), wanted, len(head), starts, ends, cut=cut)

    @override
    def reading_notes(
        self, name: str, examples: Sequence[SpanExample], features: Sequence[SpanFeature]
    ) -> Iterator[str]:
        """Contexts are not cut, but read in windows; questions are cut, and answers may be lost."""
        counts = np.bincount([window.example for window in features], minlength=len(examples))
        cut = {window.example for window in features if window.cut}
        inside = {window.example: window.targets for window in features if window.targets.any()}
        answered = [number for number, example in enumerate(examples) if example.answers]
        lost = sum(number not in inside for number in answered)
        longest = self.config.longest_answer
        long = sum(end - start >= longest for start, end in inside.values())
        yield (
            f"{name}: no context is cut; {(counts > 1).sum():,} of {len(examples):,} are longer "
            f"than max_length={self.max_length} tokens and are read in windows"
        )
        if cut:
            yield f"{name}: {len(cut):,} questions are cut to {LONGEST_QUESTION} tokens"
        for count, reason in (
            (lost, "lie whole in no window"),
            (long, f"are longer than task.longest_answer={longest} tokens"),
        ):
            if count:
                yield f"{name}: {count:,} of {len(answered):,} answers {reason}: they are not found"

    @override
    def answers(
        self,
        examples: Sequence[SpanExample],
        features: Sequence[SpanFeature],
        logits: Sequence[np.ndarray],
        settings: Settings,
    ) -> list[SpanAnswer]:
        best: dict[int, tuple[float, str]] = dict.fromkeys(range(len(examples)), (-np.inf, ""))
        null: dict[int, float] = defaultdict(lambda: np.inf)
        for window, rows in zip(features, logits):
            number = window.example
            # CLS stands for "no answer here". A context has an answer if one of its windows does,
            # so the window that is least sure of there being none speaks for all.
            null[number] = min(null[number], float(rows[0].sum()))
            score, start, end = best_span(window, rows, self.config.longest_answer)
            if score > best[number][0]:
                best[number] = (score, examples[number].context[start:end])
        # Where every question has an answer, the best span is it, whatever CLS says.
        threshold = settings.get(THRESHOLD, 0.0) if self.config.no_answer else -np.inf
        return [
            SpanAnswer(span if score - null[number] > threshold else "", span, score - null[number])
            for number, (score, span) in best.items()
        ]

    @override
    def choose_settings(
        self, examples: Sequence[SpanExample], answers: Sequence[SpanAnswer]
    ) -> Settings:
        """The threshold of the margin that gives the highest F1."""
        if not self.config.no_answer:
            return {}
        margins = np.maximum([answer.margin for answer in answers], BELOW_ALL)
        golds = [example.accepted for example in examples]
        answered = np.array([best_scores(a.span, g, self.rules)[1] for a, g in zip(answers, golds)])
        without = np.array([float(not gold) for gold in golds])
        # A threshold answers the questions with a larger margin, so only margins need to be tried,
        # and one below all; equal margins go together. `gain[t]` is what F1 wins (or loses, below
        # 0) by answering the questions of margin t rather than leaving them unanswered: the gain
        # of a threshold is the sum over all larger margins.
        thresholds, place = np.unique(np.append(margins, BELOW_ALL), return_inverse=True)
        gain = np.bincount(place[:-1], answered - without, len(thresholds))
        gains = gain.sum() - np.cumsum(gain)
        return {THRESHOLD: float(thresholds[gains.argmax()])}

    @override
    def scores(self, examples: Sequence[SpanExample], answers: Sequence[SpanAnswer]) -> Scores:
        golds = [example.accepted for example in examples]
        return span_scores([answer.text for answer in answers], golds, self.rules)

    @override
    def rows(self, examples: Sequence[SpanExample], answers: Sequence[SpanAnswer]) -> Rows:
        for example, answer in zip(examples, answers):
            known = {}
            if example.answers is not None:
                known["label"] = example.answers[0][0] if example.answers else ""
            yield {
                "id": example.id,
                "question": example.question,
                **known,
                "prediction": answer.text,
                "margin": round(answer.margin, 4),
            }


def best_span(window: SpanFeature, logits: np.ndarray, longest: int) -> tuple[float, int, int]:
    """(logit sum, first character, end) of the best span of at most `longest` context tokens."""
    inside = logits[window.first : window.first + len(window.starts)]
    if not len(inside):
        return -np.inf, 0, 0
    # A span scores start logit + end logit. Only the best starts and ends are tried, as in BERT's
    # released code: (starts, ends) of their pairs, those in the wrong order or too long left out.
    first = np.argsort(-inside[:, 0])[:CANDIDATES]
    last = np.argsort(-inside[:, 1])[:CANDIDATES]
    length = last[None] - first[:, None]
    total = inside[first, 0][:, None] + inside[last, 1][None]
    total = np.where((length >= 0) & (length < longest), total, -np.inf)
    row, column = np.unravel_index(total.argmax(), total.shape)
    if not np.isfinite(total[row, column]):  # no pair is in order: the best start alone
        only = int(first[0])
        return float(inside[only].sum()), int(window.starts[only]), int(window.ends[only])
    start, end = window.starts[first[row]], window.ends[last[column]]
    return float(total[row, column]), int(start), int(end)


def _token_span(example: SpanExample, context: Located) -> tuple[int, int] | None:
    """First and last token of the first answer; the tokens that hold its ends, where it is cut."""
    if not example.answers:
        return None
    text, start = example.answers[0]
    end = start + len(text)
    # An answer may begin or end inside a token, or hold spaces that no token stands for.
    touched = np.flatnonzero((context.starts < end) & (context.ends > start))
    return (int(touched[0]), int(touched[-1])) if len(touched) else None
