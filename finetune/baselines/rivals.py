"""The classical methods by name, and what each scores on a task's own split."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline

from configs.finetune_schema import FinetuneConfig
from configs.system.files import make_folder, write_text, written_file
from configs.system.notes import optional
from configs.system.run_names import PREDICTIONS
from configs.system.secrets import hide
from finetune.baselines import linear
from finetune.baselines.bigru import BiGRUClassifier
from finetune.baselines.features import (
    PlainTfIdf,
    TfidfTransformer,
    bag_of_characters,
    bag_of_words,
)
from finetune.baselines.ngram_lm import NgramClassifier
from finetune.data.example import Splits, TextExample, are_labelled
from finetune.data.submission import write_submissions
from finetune.report.markdown_tables import table
from finetune.scoring.method_scores import MethodScores, TrialScores, split_fingerprint
from finetune.scoring.metrics import classification_scores, confusion

PAIR_MARK = " ||| "
"""between the two texts of a pair"""


class Classifier(Protocol):
    """What a method makes: it learns classes by number from texts, and answers with them."""

    def fit(self, texts: Sequence[str], classes: Sequence[int], /) -> object:
        """Learn from texts and their classes."""

    def predict(self, texts: Sequence[str], /) -> np.ndarray:
        """The class of each text."""


@dataclass(frozen=True)
class Rival:
    """A method."""

    make: Callable[[int], Classifier]
    """from a seed"""
    is_random: bool = False
    """whether seeds matter"""


RIVALS = {
    "majority": Rival(lambda _: make_pipeline(bag_of_words(), DummyClassifier())),
    "one-hot": Rival(
        lambda _: make_pipeline(bag_of_words(binary=True), linear.logistic_regression())
    ),
    "bag-of-words": Rival(lambda _: make_pipeline(bag_of_words(), linear.logistic_regression())),
    "naive-bayes": Rival(lambda _: make_pipeline(bag_of_words(), linear.naive_bayes())),
    "tf-idf": Rival(
        lambda _: make_pipeline(
            bag_of_words(), PlainTfIdf(unit_length=True), linear.logistic_regression()
        )
    ),
    "n-grams": Rival(
        lambda _: make_pipeline(
            bag_of_words(ngram_range=(1, 3), min_df=2), linear.logistic_regression()
        )
    ),
    "svm-hinge": Rival(
        lambda seed: make_pipeline(
            bag_of_words(), PlainTfIdf(unit_length=True), linear.hinge_svm(seed)
        )
    ),
    "svm-multiclass-hinge": Rival(
        lambda _: make_pipeline(
            bag_of_words(), PlainTfIdf(unit_length=True), linear.multiclass_hinge_svm()
        )
    ),
    "n-grams-svm": Rival(
        lambda seed: make_pipeline(
            bag_of_words(ngram_range=(1, 2), min_df=2),
            TfidfTransformer(sublinear_tf=True),
            linear.squared_hinge_svm(seed),
        )
    ),
    "characters-svm": Rival(
        lambda seed: make_pipeline(
            bag_of_characters(ngram_range=(2, 5), min_df=5),
            TfidfTransformer(sublinear_tf=True),
            linear.squared_hinge_svm(seed),
        )
    ),
    "n-gram-lm": Rival(lambda _: NgramClassifier()),
    "word2vec-cbow-bigru": Rival(lambda seed: BiGRUClassifier(False, seed), is_random=True),
    "word2vec-skipgram-bigru": Rival(lambda seed: BiGRUClassifier(True, seed), is_random=True),
}


def run_rival(
    name: str, config: FinetuneConfig, splits: Splits[TextExample], output: Path
) -> MethodScores:
    """Train and score one method with every seed; writes scores.json and predictions.csv."""
    rival, folder = RIVALS[name], output / name
    seeds = config.seeds if rival.is_random else config.seeds[:1]
    trials = []
    for seed in seeds:
        started = time.monotonic()
        model = rival.make(seed)
        model.fit(joined_texts(splits.train), targets_of(splits.train))
        predictions = {
            part: model.predict(joined_texts(examples))
            for part, examples in splits.evaluated.items()
        }
        trials.append(trial_scores(seed, splits, predictions, started))
    write_predictions(folder, splits, predictions)
    write_submissions(folder, config.task, splits)
    if isinstance(model, NgramClassifier):
        with optional(f"{folder}/statistics.md"):
            write_text(folder / "statistics.md", hide(statistics(model, splits)))
    dev = split_fingerprint(splits.dev)
    scores = MethodScores(name, config.task.name, "accuracy", list(splits.labels), dev, trials)
    scores.write(folder)
    return scores


def trial_scores(
    seed: int,
    splits: Splits[TextExample],
    predictions: Mapping[str, np.ndarray],
    started: float,
) -> TrialScores:
    """One seed's scores, by the metrics that encoders are scored by.

    Args:
        predictions: the class of each example, by part.
        started: `time.monotonic()` before training.
    """
    classes = len(splits.labels)
    scores = {
        part: classification_scores(targets_of(examples), predictions[part], classes)
        for part, examples in splits.evaluated.items()
        if are_labelled(examples)
    }
    return TrialScores(
        name=f"seed={seed}",
        seed=seed,
        dev=scores.pop("dev"),
        test=scores.pop("test", None),
        seconds=time.monotonic() - started,
        confusion=confusion(targets_of(splits.dev), predictions["dev"], classes).tolist(),
        further=scores,
    )


def joined_texts(examples: Sequence[TextExample]) -> list[str]:
    """What a method reads."""
    return [e.text if e.pair is None else f"{e.text}{PAIR_MARK}{e.pair}" for e in examples]


def targets_of(examples: Sequence[TextExample]) -> list[int]:
    """The classes."""
    return [example.label for example in examples]


def write_predictions(
    folder: Path, splits: Splits[TextExample], predictions: Mapping[str, np.ndarray]
) -> None:
    """The last seed's answers to every part but train; `label` is empty where there is none."""
    make_folder(folder)
    path = folder / PREDICTIONS
    with written_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "id", "label", "prediction"])
        for part, examples in splits.evaluated.items():
            for example, place in zip(examples, predictions[part]):
                known = splits.labels[example.label] if example.is_labelled else ""
                writer.writerow([part, example.id, known, splits.labels[place]])


def statistics(model: NgramClassifier, splits: Splits[TextExample]) -> str:
    """Types, tokens and perplexities of the classes' language models, as Markdown."""
    labels = splits.labels
    sizes = [[label, m.types, m.tokens] for label, m in zip(labels, model.models)]
    perplexities = model.perplexities(joined_texts(splits.dev), targets_of(splits.dev))
    rows = [[label, *(f"{value:.0f}" for value in row)] for label, row in zip(labels, perplexities)]
    return "\n\n".join(
        [
            table(["class", "words", "tokens, ends included"], sizes),
            "Perplexity per word of dev texts (rows) under each class's model (columns):",
            table(["", *labels], rows) + "\n",
        ]
    )
