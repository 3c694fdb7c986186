"""The report of a fine-tuning run: what was learnt, how surely, and where it goes wrong."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from configs.finetune_schema import FinetuneConfig
from configs.system.files import write_text, written_file
from configs.system.json_files import read_json
from configs.system.notes import optional
from configs.system.run_folder import RunFolder
from configs.system.run_names import BEST, CHECKPOINTS, PREDICTIONS, SCORES, UNMERGED_FOLDER
from configs.system.safe_text import Markup, markdown
from configs.system.secrets import hide
from finetune.data.example import Splits, TextExample, are_labelled
from finetune.report.gallery import Gallery
from finetune.report.markdown_tables import bullets, confusion_table, percent, table
from finetune.report.result_plots import plot_calibration, plot_confusion, plot_trials
from finetune.scoring.method_scores import MethodScores, TrialScores, split_fingerprint, summary
from finetune.scoring.metrics import calibration, class_scores, confusion
from finetune.tasks.task import AnyTask
from finetune.tasks.text import UNMERGED

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
        with RunFolder(self.folder).predictions.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

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
    def of(
        cls, rows: Sequence[dict[str, str]], labels: Sequence[str], prefix: str = ""
    ) -> Classified:
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
    with written_file(folder.predictions) as aside:
        shutil.copyfile(RunFolder(run.best.folder).predictions, aside)
    merge_metrics(run)
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
    parts = [
        f"# {markdown(config.task.name)}: {markdown(config.model)}",
        facts(config, run.splits),
        "## Scores",
        overview,
        gallery.add("trials", "dev score by step", plot_trials, dev_curves(run), metric),
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


def facts(config: FinetuneConfig, splits: Splits[Any]) -> str:
    """What the run was made of."""
    parts = {"train": splits.train, **splits.evaluated}
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    steps = config.task.preprocess.words
    forgotten = ", its weights forgotten" if config.reinitialise else ""
    lines = [
        f"encoder: {config.model}{forgotten}",
        f"examples: {sizes}",
        f"cleaning: {steps}",
        f"adapted to the task's texts: {config.adapt.epochs:g} epochs",
        *splits.notes,
    ]
    return bullets(lines)


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
    gallery: Gallery,
    split: str,
    rows: Sequence[dict[str, str]],
    examples: Sequence[TextExample],
    labels: Sequence[str],
) -> list[str]:
    """Per class, confusion matrix, calibration and errors of one split."""
    answers = Classified.of(rows, labels)
    matrix = confusion(answers.gold, answers.predicted, len(labels))
    error, bins = calibration(answers.probabilities_NC, answers.gold)
    drawn = gallery.add(
        f"confusion_{split}", "confusion matrix", plot_confusion, matrix, labels, split
    )
    per_class = [
        [
            label,
            *(percent(scores[name]) for name in ("precision", "recall", "f1")),
            int(scores["support"]),
        ]
        for label, scores in zip(labels, class_scores(answers.gold, answers.predicted, len(labels)))
    ]
    return [
        f"### {split}",
        table(["class", "precision", "recall", "F1", "examples"], per_class),
        confusion_table(matrix, labels) if len(labels) <= MOST_COLUMNS else TOO_WIDE,
        drawn,
        f"Expected calibration error {error:.3f}:",
        table(
            ["confidence", "accuracy", "predictions"],
            [[f"{b.confidence:.3f}", f"{b.accuracy:.3f}", b.count] for b in bins],
        ),
        gallery.add(f"calibration_{split}", "calibration", plot_calibration, bins, error, split),
        f"#### The most confident errors on {split}",
        confident_errors(answers, examples, labels),
    ]


def confident_errors(
    answers: Classified, examples: Sequence[TextExample], labels: Sequence[str]
) -> str:
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


def sample_answers(rows: Sequence[dict[str, str]], is_scored: bool) -> str:
    """The first answers, or those of them that differ from what was wanted."""
    shown = [row for row in rows if not is_scored or row.get("label") != row["prediction"]]
    hidden = ("split",) if is_scored else ("split", "label", f"{UNMERGED}label")
    names = [name for name in rows[0] if name not in hidden]
    return table(names, [[row[name] for name in names] for row in shown[:ERRORS]])


def merge_metrics(run: FinishedRun) -> None:
    """All trials' records in one metrics.jsonl, each with its trial's name."""
    records = [
        {"trial": trial.result["name"], **record}
        for trial in run.trials
        for record in RunFolder(trial.folder).read_metrics()
    ]
    RunFolder(run.folder).write_metrics(records)


def dev_curves(run: FinishedRun) -> dict[str, list[tuple[int, float]]]:
    """(step, dev score) of every evaluation, by trial."""
    return {
        trial.result["name"]: [
            (record["step"], record[run.task.metric])
            for record in RunFolder(trial.folder).read_metrics()
            if record["kind"] == "dev"
        ]
        for trial in run.trials
    }


def write_scores(run: FinishedRun) -> None:
    """scores.json, for tables over many runs; another in unmerged/ for a task with all labels."""
    method_scores(run, run.config.task.name, "", run.task.shown_labels).write(run.folder)
    unmerged = run.config.task.unmerged
    if unmerged:
        scores = method_scores(run, unmerged, UNMERGED, run.task.labels)
        scores.write(run.folder / UNMERGED_FOLDER)


def method_scores(run: FinishedRun, name: str, prefix: str, labels: Sequence[str]) -> MethodScores:
    """What the run scored on the task called `name`: the metrics with a prefix."""
    kind = run.config.task.kind
    return MethodScores(
        method=run.folder.name,
        task=name,
        metric=run.task.metric,
        labels=list(labels),
        split=split_fingerprint(run.splits.dev),
        trials=[trial_scores(trial, prefix, labels, kind) for trial in run.trials],
    )


def trial_scores(
    trial: FinishedTrial, prefix: str, labels: Sequence[str], kind: str
) -> TrialScores:
    """A trial's scores of the metrics with a prefix; of those with none for an empty one."""
    result, matrix = trial.result, []
    if kind == "classification":
        answers = Classified.of(trial.split("dev"), labels, prefix)
        matrix = confusion(answers.gold, answers.predicted, len(labels)).tolist()
    return TrialScores(
        name=result["name"],
        seed=result["seed"],
        dev=with_prefix(result["dev"], prefix),
        test=with_prefix(result["test"], prefix) if result["test"] else None,
        seconds=result["seconds"],
        confusion=matrix,
        further={name: with_prefix(scores, prefix) for name, scores in result["further"].items()},
    )


def with_prefix(scores: dict[str, float], prefix: str) -> dict[str, float]:
    """The metrics whose names begin with a prefix, without it; for none those of shown labels."""
    if prefix:
        named = {name: value for name, value in scores.items() if name.startswith(prefix)}
    else:
        named = {name: value for name, value in scores.items() if not name.startswith(UNMERGED)}
    return {name.removeprefix(prefix): value for name, value in named.items()}
