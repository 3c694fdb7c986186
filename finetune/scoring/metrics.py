"""Scores, from libraries where one is well kept. All lie in [0, 1], correlations in [-1, 1]."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
KORQUAD_BLANKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))


def classification_scores(gold: ArrayLike, predicted: ArrayLike, classes: int) -> dict[str, float]:
    """accuracy, macro_f1, matthews; with two classes also f1 of the second (MRPC, QQP).

    macro_f1 averages over the classes that gold or prediction hold, scikit-learn's default. Each is
    1 where all is right, also where a class that it asks for does not occur.
    """
    from sklearn import metrics

    is_perfect = np.array_equal(gold, predicted)
    scores = {
        "accuracy": metrics.accuracy_score(gold, predicted),
        "macro_f1": np.nanmean([row["f1"] for row in class_scores(gold, predicted, classes)]),
        "matthews": 1.0 if is_perfect else metrics.matthews_corrcoef(gold, predicted),
    }
    if classes == 2:
        scores["f1"] = metrics.f1_score(gold, predicted, zero_division=1)
    return {name: float(value) for name, value in scores.items()}


def class_scores(gold: ArrayLike, predicted: ArrayLike, classes: int) -> list[dict[str, float]]:
    """precision, recall, f1 and support of every class; NaN where neither side holds it."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        gold, predicted, labels=list(range(classes)), zero_division=0
    )
    names = ("precision", "recall", "f1", "support")
    rows = [dict(zip(names, map(float, row))) for row in zip(*columns)]
    held = {*np.ravel(gold).tolist(), *np.ravel(predicted).tolist()}
    nothing = dict.fromkeys(names[:3], float("nan"))
    return [row if place in held else row | nothing for place, row in enumerate(rows)]


def confusion(gold: ArrayLike, predicted: ArrayLike, classes: int) -> np.ndarray:
    """int64 (gold class, predicted class)."""
    from sklearn.metrics import confusion_matrix

    counts: np.ndarray = confusion_matrix(gold, predicted, labels=list(range(classes)))
    return counts


def regression_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """pearson and spearman; 0 where all predictions, or all numbers, are equal."""
    from scipy import stats

    if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(stats.pearsonr(gold, predicted).statistic),
        "spearman": float(stats.spearmanr(gold, predicted).statistic),
    }


def tagging_scores(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    """Precision, recall and F1 of whole entities (BIO), and accuracy of single labels.

    Where there is no entity, to find none is all right (1).
    """
    from seqeval import metrics

    is_empty = all(label == "O" for side in (gold, predicted) for row in side for label in row)
    none = float(is_empty)
    return {
        "f1": float(metrics.f1_score(gold, predicted, zero_division=none)),
        "precision": float(metrics.precision_score(gold, predicted, zero_division=none)),
        "recall": float(metrics.recall_score(gold, predicted, zero_division=none)),
        "accuracy": float(metrics.accuracy_score(gold, predicted)),
    }


# -- spans: the rules of the official scripts ------------------------------------------------------


def normal_answer(text: str) -> str:
    """Without case, punctuation, articles and extra space, as SQuAD's scripts compare."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def normal_korean(text: str) -> str:
    """As KorQuAD's script compares: some quotes and brackets part words, ASCII's other punctuation
    goes without a trace."""
    return " ".join(text.translate(KORQUAD_BLANKS).lower().translate(PUNCTUATION).split())


@dataclass(frozen=True)
class SpanRules:
    """How answers are compared."""

    normal: Callable[[str], str]
    """what of an answer counts"""
    pieces: Callable[[str], Sequence[str]]
    """of a normal answer: what F1 counts"""
    empty_f1: float
    """F1 of two answers without pieces"""
    skips_empty: bool
    """whether gold answers without pieces don't count (SQuAD 2.0)"""


SPAN_RULES = {
    "squad": SpanRules(normal_answer, str.split, empty_f1=1.0, skips_empty=True),
    "korquad": SpanRules(
        normal_korean, lambda text: text.replace(" ", ""), empty_f1=0.0, skips_empty=False
    ),
}
"""by `task.span_metric`: SQuAD 1.1 and 2.0 count words, KorQuAD 1.0 (Lim et al., 2019) characters,
since a Korean word and its particle are one"""


def exact_match(predicted: str, gold: str, rules: SpanRules) -> float:
    """1 where both are equal but for form."""
    return float(rules.normal(predicted) == rules.normal(gold))


def span_f1(predicted: str, gold: str, rules: SpanRules) -> float:
    """F1 of the pieces in common; an empty answer matches at most an empty one."""
    given, wanted = (rules.pieces(rules.normal(text)) for text in (predicted, gold))
    if not given and not wanted:
        return rules.empty_f1
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def best_scores(predicted: str, golds: Sequence[str], rules: SpanRules) -> tuple[float, float]:
    """(exact match, F1), each against the gold answer that fits best; none accepts only ""."""
    if rules.skips_empty:
        golds = [gold for gold in golds if rules.normal(gold)]
    if not golds:
        is_right = float(not rules.normal(predicted))
        return is_right, is_right
    exact = max(exact_match(predicted, gold, rules) for gold in golds)
    return exact, max(span_f1(predicted, gold, rules) for gold in golds)


def span_scores(
    predicted: Sequence[str], golds: Sequence[Sequence[str]], rules: SpanRules
) -> dict[str, float]:
    """exact and f1, the mean over questions; apart for those with and without an answer (2.0).

    Args:
        golds: the accepted answers of each question; none where it has no answer.
    """
    pairs = np.array([best_scores(*pair, rules) for pair in zip(predicted, golds)])
    scores = dict(zip(("exact", "f1"), pairs.mean(0).tolist()))
    answerable = np.array([bool(gold) for gold in golds])
    if answerable.all():
        return scores
    for name, chosen in (("answerable", answerable), ("unanswerable", ~answerable)):
        if chosen.any():
            scores[f"f1_{name}"] = float(pairs[chosen, 1].mean())
    return scores


# -- calibration -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same confidence."""

    confidence: float
    """their mean highest probability"""
    accuracy: float
    count: int


def calibration(probabilities_NC: np.ndarray, gold: Sequence[int]) -> tuple[float, list[Bin]]:
    """(expected calibration error, its filled bins of equal width; Guo et al., 2017, section 2)."""
    confidence, right = probabilities_NC.max(1), probabilities_NC.argmax(1) == np.asarray(gold)
    place = np.minimum((confidence * 10).astype(int), 9)
    bins = [
        Bin(float(confidence[place == k].mean()), float(right[place == k].mean()), int(n))
        for k, n in enumerate(np.bincount(place, minlength=10))
        if n
    ]
    error = sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / len(gold)
    return float(error), bins
