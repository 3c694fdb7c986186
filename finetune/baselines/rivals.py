"""The classical methods, all on a task's own split: launch/finetune.py with `model=classical`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from configs.errors import InputError
from configs.finetune_schema import PLACES, FinetuneConfig
from configs.system.files import make_folder, write_text
from configs.system.notes import EVERY_RANK, optional
from configs.system.run_folder import RunFolder
from configs.system.run_names import UNMERGED_FOLDER
from configs.system.safe_text import visible
from configs.system.secrets import hide
from configs.system.version import FINETUNING
from finetune.baselines.bigru import BiGRUClassifier
from finetune.baselines.linear import (
    MulticlassHingeSVC,
    PlainTfIdf,
    Tuned,
    bag_of_characters,
    bag_of_words,
)
from finetune.baselines.ngram_lm import NgramClassifier
from finetune.data.example import Splits, TextExample, are_labelled, digest_examples
from finetune.data.submission import write_predictions, write_submissions
from finetune.data.texts import read_text_splits
from finetune.report import method_table
from finetune.report.markdown_tables import table
from finetune.report.method_table import MethodScores, TrialScores, by_part, summary
from finetune.scoring.metrics import classification_scores, confusion
from pretrain.ranks.agreement import Agreement, failing_together
from pretrain.ranks.world import World
from pretrain.run import describe
from pretrain.run.describe import LEARNING, start_facts
from pretrain.run.log import duration
from pretrain.run.status import kept_status, owned

logger = logging.getLogger(__name__)

ALL = "classical"
PAIR_MARK = " ||| "
"""between the two texts of a pair"""


def logistic(*steps: object) -> Pipeline:
    """Multinomial logistic regression on what the steps make of a text."""
    return make_pipeline(*steps, Tuned(LogisticRegression(max_iter=1000)))


def squared_hinge_svm(counter: object, seed: int) -> Pipeline:
    """With scikit-learn's default loss, mostly the strongest, on sublinear tf-idf of counts."""
    weights, svm = TfidfTransformer(sublinear_tf=True), LinearSVC(random_state=seed)
    return make_pipeline(counter, weights, Tuned(svm))


def hinge_svm(seed: int) -> Tuned:
    """One binary hinge SVM a class, against the rest."""
    return Tuned(LinearSVC(loss="hinge", max_iter=5000, random_state=seed))


RIVALS: dict[str, Callable[[int], Any]] = {
    "majority": lambda _: make_pipeline(bag_of_words(), DummyClassifier()),
    "one-hot": lambda _: logistic(bag_of_words(binary=True)),
    "bag-of-words": lambda _: logistic(bag_of_words()),
    "naive-bayes": lambda _: make_pipeline(bag_of_words(), MultinomialNB()),
    "tf-idf": lambda _: logistic(bag_of_words(), PlainTfIdf()),
    "n-grams": lambda _: logistic(bag_of_words(ngram_range=(1, 3), min_df=2)),
    "svm-hinge": lambda seed: make_pipeline(bag_of_words(), PlainTfIdf(), hinge_svm(seed)),
    "svm-multiclass-hinge": lambda _: make_pipeline(
        bag_of_words(), PlainTfIdf(), Tuned(MulticlassHingeSVC())
    ),
    "n-grams-svm": lambda seed: squared_hinge_svm(bag_of_words(ngram_range=(1, 2), min_df=2), seed),
    "characters-svm": lambda seed: squared_hinge_svm(
        bag_of_characters(ngram_range=(2, 5), min_df=5), seed
    ),
    "n-gram-lm": lambda _: NgramClassifier(),
    "word2vec-cbow-bigru": lambda seed: BiGRUClassifier(skip_gram=False, seed=seed),
    "word2vec-skipgram-bigru": lambda seed: BiGRUClassifier(skip_gram=True, seed=seed),
}
"""what makes each method, from a seed: it has `fit(texts, classes)` and `predict(texts)`, classes
being numbers"""
RANDOM = {"word2vec-cbow-bigru", "word2vec-skipgram-bigru"}
"""methods that are trained with every seed"""


@dataclass(frozen=True)
class RivalTask:
    """A task that methods are trained on."""

    folder: Path
    """that holds a folder for each method"""
    config: FinetuneConfig
    splits: Splits[TextExample]


def find_rivals(model: str | None) -> list[str]:
    """The methods that `model` names: `classical` for all, or names with commas between them.

    Empty where it names an encoder; `InputError` for a list with an unknown name in it.
    """
    if model == ALL:
        return list(RIVALS)
    names = (model or "").split(",")
    unknown = [name for name in names if name not in RIVALS]
    if len(unknown) == len(names):
        return []
    if unknown:
        raise InputError(f"model={model}: no rival is called '{unknown[0]}': {', '.join(RIVALS)}")
    return names


def compare_rivals(names: list[str], config: FinetuneConfig, world: World) -> Path:
    """Train and score every method, ranks taking turns; returns `run_dir/classical`.

    Methods learn the labels that they are scored by: with `task.unmerged` each is trained twice,
    on the merged labels and, in the folder `unmerged`, on all.
    """
    agreement, output = Agreement(world), Path(config.run_dir) / ALL
    places = set(PLACES) - {"model"}
    agreement.require(start_facts(config, places, FINETUNING, LEARNING))
    with failing_together(world):
        tasks = read_tasks(config, output)
    examples = {task.folder.name: digest_examples(task.splits)[:16] for task in tasks}
    agreement.require({"examples": examples})
    with owned(Path(config.run_dir), world), kept_status(output, world):
        if world.is_main:
            describe.write_environment(output, config, world, {"agreed": agreement.record})
            splits = tasks[0].splits
            sizes = f"{len(splits.train):,} training and {len(splits.dev):,} dev examples"
            logger.info(f"{sizes} -> {visible(output)}")
            for note in splits.notes:
                logger.info(f"note  {visible(note)}")
        run_rivals(names, tasks, world)
        world.barrier()
        if world.is_main:
            text = method_table.comparison([task.folder / name for task in tasks for name in names])
            write_text(output / "table.md", hide(text))
            logger.info(f"\n{text}\ndone: {visible(output)}/table.md")
    return output


def read_tasks(config: FinetuneConfig, output: Path) -> list[RivalTask]:
    """The task with its merged labels; with `task.unmerged` also the one with all labels."""
    task = config.task
    if task.kind != "classification":
        raise InputError(f"task.kind={task.kind}: the classical methods classify texts")
    tasks = {output: replace(task, unmerged=None)}
    if task.unmerged:
        tasks[output / UNMERGED_FOLDER] = replace(task, name=task.unmerged)
    return [
        RivalTask(folder, replace(config, task=own), read_text_splits(own))
        for folder, own in tasks.items()
    ]


def run_rivals(names: list[str], tasks: list[RivalTask], world: World) -> None:
    """Every method on every task, ranks taking turns; a line for each."""
    started, work = time.monotonic(), [(name, task) for name in names for task in tasks]
    for number, (name, task) in enumerate(work, start=1):
        if number % world.size == world.rank:
            scores = run_rival(name, task)
            accuracy, macro_f1 = (summary(scores.values(x)) for x in ("accuracy", "macro_f1"))
            logger.info(
                f"{number:>2}/{len(work)}  {visible(task.config.task.name):<10} {name:<24} "
                f"accuracy {accuracy}  "
                f"macro-F1 {macro_f1}  {duration(time.monotonic() - started)} passed",
                extra=EVERY_RANK,
            )


def run_rival(name: str, task: RivalTask) -> MethodScores:
    """Train and score one method with every seed that matters; writes what it leaves.

    That is scores.json and, of the last seed, predictions.csv and answers for GLUE's server.
    """
    config, splits, folder = task.config, task.splits, task.folder / name
    trials = []
    for seed in config.seeds if name in RANDOM else config.seeds[:1]:
        started = time.monotonic()
        model = RIVALS[name](seed)
        model.fit(joined_texts(splits.train), targets_of(splits.train))
        answers = {part: model.predict(joined_texts(e)) for part, e in splits.evaluated.items()}
        trials.append(trial_scores(seed, splits, answers, started))
    make_folder(folder)
    rows = [
        {
            "split": part,
            "id": example.id,
            "label": splits.labels[example.label] if example.is_labelled else "",
            "prediction": splits.labels[place],
        }
        for part, examples in splits.evaluated.items()
        for example, place in zip(examples, answers[part])
    ]
    write_predictions(RunFolder(folder).predictions, rows, config.csv_safe)
    write_submissions(folder, config.task, splits)
    if isinstance(model, NgramClassifier):
        with optional(f"{folder}/statistics.md"):
            write_text(folder / "statistics.md", hide(statistics(model, splits)))
    dev = method_table.split_fingerprint(splits.dev)
    scores = MethodScores(name, config.task.name, "accuracy", list(splits.labels), dev, trials)
    scores.write(folder)
    return scores


def trial_scores(
    seed: int, splits: Splits[TextExample], answers: dict[str, np.ndarray], started: float
) -> TrialScores:
    """One seed's scores, by the metrics that encoders are scored by.

    Args:
        answers: the class of each example, by part.
        started: `time.monotonic()` before training.
    """
    classes = len(splits.labels)
    scores = {
        part: classification_scores(targets_of(examples), answers[part], classes)
        for part, examples in splits.evaluated.items()
        if are_labelled(examples)
    }
    matrix = confusion(targets_of(splits.dev), answers["dev"], classes).tolist()
    seconds = time.monotonic() - started
    return TrialScores(f"seed={seed}", seed, **by_part(scores), seconds=seconds, confusion=matrix)


def joined_texts(examples: Sequence[TextExample]) -> list[str]:
    """What a method reads."""
    return [e.text if e.pair is None else f"{e.text}{PAIR_MARK}{e.pair}" for e in examples]


def targets_of(examples: Sequence[TextExample]) -> list[int]:
    """The classes."""
    return [example.label for example in examples]


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
