"""The report of a fine-tuning run: what was learnt, how surely, and where it goes wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from configs.finetune_schema import FinetuneConfig
from configs.system.files import write_text
from configs.system.json_files import read_json
from configs.system.notes import optional
from configs.system.run_folder import Record, RunFolder
from configs.system.run_names import BEST, CHECKPOINTS, PREDICTIONS, SCORES, UNMERGED_FOLDER
from configs.system.safe_text import Markup, markdown
from configs.system.secrets import hide
from finetune.data.example import Splits, TextExample, are_labelled
from finetune.data.submission import read_predictions, write_predictions
from finetune.report import method_table
from finetune.report.markdown_tables import Gallery, bullets, confusion_table, percent, table
from finetune.report.method_table import MethodScores, TrialScores, by_part, summary
from finetune.report.result_plots import plot_calibration, plot_confusion, plot_trials
from finetune.scoring.metrics import calibration, class_scores, confusion
from finetune.tasks.task import AnyTask
from finetune.tasks.text import UNMERGED

Rows = Sequence[dict[str, str]]
"""of predictions.csv, by column"""
ERRORS = 15
MOST_COLUMNS = 100
TOO_WIDE = f"(More than {MOST_COLUMNS} classes: no table here; {SCORES} has the counts.)"


@dataclass(frozen=True)
class FinishedTrial:
    """A trial's folder as it was left."""

    folder: Path

    @cached_property
    def result(self) -> dict[str, Any]:
        """The content of result.json."""
        return read_json(RunFolder(self.folder).result, "run its trial anew", infinite=True)

    @cached_property
    def predictions(self) -> list[dict[str, str]]:
        """The lines of predictions.csv."""
        return read_predictions(RunFolder(self.folder).predictions)

    @cached_property
    def records(self) -> list[Record]:
        """The lines of metrics.jsonl."""
        return RunFolder(self.folder).read_metrics()

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Of dev, test and further parts, those that were scored."""
        scored = {"dev": self.result["dev"], "test": self.result["test"], **self.result["further"]}
        return {name: scores for name, scores in scored.items() if scores}

    def split(self, name: str) -> list[dict[str, str]]:
        """The predictions of one part."""
        return [row for row in self.predictions if row["split"] == name]


@dataclass(frozen=True)
class Classified:
    """Predictions of a classifier as arrays."""

    gold: list[int]
    predicted: list[int]
    probabilities_NC: np.ndarray

    @classmethod
    def of(cls, rows: Rows, labels: Sequence[str], prefix: str) -> Classified:
        """From lines of predictions.csv, columns of the given prefix."""
        places = {label: place for place, label in enumerate(labels)}
        probabilities = [[float(row[f"{prefix}p({label})"]) for label in labels] for row in rows]
        return cls(
            [places[row[f"{prefix}label"]] for row in rows],
            [places[row[f"{prefix}prediction"]] for row in rows],
            np.array(probabilities),
        )


@dataclass(frozen=True)
class FinishedRun:
    """A run whose trials are all done."""

    folder: Path
    config: FinetuneConfig
    task: AnyTask
    splits: Splits[Any]
    trials: list[FinishedTrial]

    @cached_property
    def best(self) -> FinishedTrial:
        """The trial with the highest dev score."""
        return max(self.trials, key=lambda trial: trial.result["dev"][self.task.metric])


def write_report(
    run_dir: Path, config: FinetuneConfig, task: AnyTask, splits: Splits[Any], names: Sequence[str]
) -> str:
    """predictions.csv, scores.json, metrics.jsonl, and of them report.md and plots/, which may
    fail; returns the first table.

    Args:
        names: the run's trials, in order.
    """
    folder = RunFolder(run_dir)
    trials = [FinishedTrial(folder.trial(name).path) for name in names]
    run = FinishedRun(run_dir, config, task, splits, trials)
    write_predictions(folder.predictions, run.best.predictions, config.csv_safe)
    folder.write_metrics(
        {"trial": trial.result["name"], **record} for trial in trials for record in trial.records
    )
    write_scores(run)
    overview = trial_table(trials)
    with optional(str(folder.report)):
        write_text(folder.report, hide(report(run, overview)))
    return overview


def report(run: FinishedRun, overview: str) -> str:
    """report.md, whose plots are drawn.

    Args:
        overview: the table of all trials.
    """
    config, best, metric = run.config, run.best, run.task.metric
    gallery = Gallery(run.folder)
    curves = {
        trial.result["name"]: [
            (record["step"], record[metric]) for record in trial.records if record["kind"] == "dev"
        ]
        for trial in run.trials
    }
    forgotten = ", its weights forgotten" if config.reinitialise else ""
    facts = [
        f"encoder: {config.model}{forgotten}",
        f"examples: {run.splits.sizes}",
        f"cleaning: {config.task.preprocess.words}",
        f"adapted to the task's texts: {config.adapt.epochs:g} epochs",
        *run.splits.notes,
    ]
    parts = [
        f"# {markdown(config.task.name)}: {markdown(config.model)}",
        bullets(facts),
        "## Scores",
        overview,
        gallery.add("trials", "dev score by step", plot_trials, curves, metric),
        f"## The best trial on dev: {best.result['name']}",
        f"Its model is in `{CHECKPOINTS}/{BEST}`, its answers are in `{PREDICTIONS}`.",
    ]
    for name, examples in run.splits.evaluated.items():
        rows, is_scored = best.split(name), are_labelled(examples)
        if is_scored and config.task.kind == "classification":
            parts += classification_part(gallery, name, rows, examples, run.task.shown_labels)
        else:
            parts += [f"### Some answers on {name}", sample_answers(rows, is_scored)]
        are_equal = len({row["prediction"] for row in rows}) == 1
        if is_scored and config.task.kind == "regression" and are_equal:
            parts.append("All predictions are equal: correlations are undefined, shown as 0.")
    return "\n\n".join(parts) + "\n"


def trial_table(trials: Sequence[FinishedTrial]) -> str:
    """Every trial's scores; the median and interquartile range where there are several seeds."""
    names = list(trials[0].result["dev"])
    splits = list(trials[0].scores)
    header = ["trial", *(f"{s} {n}" for s in splits for n in names), "best epoch", "minutes"]
    rows: list[list[object]] = []
    points: dict[str, list[dict[str, dict[str, float]]]] = defaultdict(list)
    for trial in trials:
        result = trial.result
        points[result["point"]].append(trial.scores)
        scores = [percent(trial.scores[s][n]) for s in splits for n in names]
        times = [f"{result['epoch']:.2f}", f"{result['seconds'] / 60:.1f}"]
        rows.append([result["name"], *scores, *times])
    for point, results in points.items():
        if len(results) > 1:
            cells = [summary([r[s][n] for r in results]) for s in splits for n in names]
            of = f"median (IQR) of {len(results)} seeds{', ' if point else ''}"
            title = Markup(f"**{of}{markdown(point, in_table=True)}**")
            rows.append([title, *cells, "", ""])
    return table(header, rows)


def classification_part(
    gallery: Gallery, split: str, rows: Rows, examples: Sequence[TextExample], labels: Sequence[str]
) -> list[str]:
    """Per class, confusion matrix, calibration and errors of one split."""
    answers = Classified.of(rows, labels, "")
    matrix = confusion(answers.gold, answers.predicted, len(labels))
    error, bins = calibration(answers.probabilities_NC, answers.gold)
    name = f"confusion_{split}"
    drawn = gallery.add(name, "confusion matrix", plot_confusion, matrix, labels, split)
    scored = class_scores(answers.gold, answers.predicted, len(labels))
    per_class = [
        [label, *(percent(own[x]) for x in ("precision", "recall", "f1")), int(own["support"])]
        for label, own in zip(labels, scored)
    ]
    calibrated = [[f"{b.confidence:.3f}", f"{b.accuracy:.3f}", b.count] for b in bins]
    return [
        f"### {split}",
        table(["class", "precision", "recall", "F1", "examples"], per_class),
        confusion_table(matrix, labels) if len(labels) <= MOST_COLUMNS else TOO_WIDE,
        drawn,
        f"Expected calibration error {error:.3f}:",
        table(["confidence", "accuracy", "predictions"], calibrated),
        gallery.add(f"calibration_{split}", "calibration", plot_calibration, bins, error, split),
        f"#### The most confident errors on {split}",
        sure_errors(answers, examples, labels),
    ]


def sure_errors(answers: Classified, examples: Sequence[TextExample], labels: Sequence[str]) -> str:
    """Where the model is most sure and wrong, as text."""
    wrong = [i for i, (g, p) in enumerate(zip(answers.gold, answers.predicted)) if g != p]
    wrong.sort(key=lambda i: -answers.probabilities_NC[i].max())
    lines = []
    for place in wrong[:ERRORS]:
        example = examples[place]
        text = example.raw if example.pair is None else f"{example.raw} / {example.pair}"
        said, gold = (markdown(labels[x[place]]) for x in (answers.predicted, answers.gold))
        known = f"{said}, is {gold} ({markdown(example.id)}): {markdown(' '.join(text.split()))}"
        lines.append(Markup(f"{answers.probabilities_NC[place].max():.1%} {known}"))
    return bullets(lines) or "none"


def sample_answers(rows: Rows, is_scored: bool) -> str:
    """The first answers, or those of them that differ from what was wanted."""
    shown = [row for row in rows if not is_scored or row.get("label") != row["prediction"]]
    hidden = ("split",) if is_scored else ("split", "label", f"{UNMERGED}label")
    names = [name for name in rows[0] if name not in hidden]
    return table(names, [[row[name] for name in names] for row in shown[:ERRORS]])


def write_scores(run: FinishedRun) -> None:
    """scores.json, for tables over many runs; another in unmerged/ for a task with all labels."""
    task, folder = run.config.task, run.folder
    written = [(folder, task.name, "", run.task.shown_labels)]
    if task.unmerged:
        written.append((folder / UNMERGED_FOLDER, task.unmerged, UNMERGED, run.task.labels))
    split = method_table.split_fingerprint(run.splits.dev)
    for place, name, prefix, labels in written:
        trials = [scores_of(trial, prefix, labels, task.kind) for trial in run.trials]
        metric, all_labels = run.task.metric, list(labels)
        MethodScores(folder.name, name, metric, all_labels, split, trials).write(place)


def scores_of(trial: FinishedTrial, prefix: str, labels: Sequence[str], kind: str) -> TrialScores:
    """A trial's scores of the metrics with a prefix; of those with none for an empty one."""
    matrix = []
    if kind == "classification":
        answers = Classified.of(trial.split("dev"), labels, prefix)
        matrix = confusion(answers.gold, answers.predicted, len(labels)).tolist()
    scores = {name: with_prefix(own, prefix) for name, own in trial.scores.items()}
    name, seed, seconds = (trial.result[x] for x in ("name", "seed", "seconds"))
    return TrialScores(name, seed, **by_part(scores), seconds=seconds, confusion=matrix)


def with_prefix(scores: dict[str, float], prefix: str) -> dict[str, float]:
    """The metrics whose names begin with a prefix, without it; for none those of shown labels."""
    is_own = bool(prefix)  # of the two prefixes there are, `UNMERGED` and none
    named = {n: value for n, value in scores.items() if n.startswith(UNMERGED) == is_own}
    return {name.removeprefix(prefix): value for name, value in named.items()}
