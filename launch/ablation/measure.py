"""From run folders to what an ablation measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from configs.ablation_metrics import METRICS, Metric
from configs.loader import flat
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from configs.system.run_names import SCORES, UNMERGED_FOLDER
from finetune.report.method_table import MethodScores, check_same_split, read_scores
from launch.ablation.budget import describe
from launch.ablation.comparability import Outcome, marks, require_comparable
from launch.ablation.estimate import minutes_of
from launch.ablation.grid import Grid, GridRun
from launch.ablation.measurements import Measurement, Results, Row
from pretrain.run.plateau import Plateau

SENTENCES = 1_000
"""of the held-out text, that fertility is counted on"""


def collect(grid: Grid) -> Results:
    """What the completed runs measured, once it is certain that they compare.

    Raises:
        InputError: two runs differ in more than the ablation studies.
    """
    config, outcomes = grid.config, [Outcome(run) for run in grid.table_runs()]
    completed = [outcome for outcome in outcomes if outcome.run.is_completed]
    require_one_table(completed, grid.baseline)
    done = [outcome.run for outcome in completed]
    measurements = [m for run in done for m in measure(run, config.metrics)]
    columns = {name: METRICS[name] for name in config.metrics}
    columns |= {m.metric.name: m.metric for m in measurements}
    name = Path(config.run_dir).name
    return Results(
        name=name,
        title=config.title or name,
        question=config.question,
        source=config.source,
        scale=config.scale,
        budget=describe(config.budget, map(grid.chosen_recipe, grid.rows)),
        baseline=grid.baseline,
        rows=describe_rows(grid, outcomes),
        metrics=tuple(columns.values()),
        measurements=tuple(measurements),
        pretraining_runs={(run.row, run.seed): run.run_dir for run in done if not run.task},
        folder=grid.folder,
        same_within=flat(config.same_within),
        most_seeds=config.most_seeds,
        notes=(describe_progress(grid), *describe_origin(completed)),
    )


def require_one_table(completed: list[Outcome], baseline: str) -> None:
    """Raise `InputError` unless pretraining runs, and those of each task, differ as they should."""
    alike: dict[str, list[Outcome]] = defaultdict(list)
    scores: dict[str, list[MethodScores]] = defaultdict(list)
    for outcome in completed:
        run = outcome.run
        if not run.method:
            alike[run.task or ""].append(outcome)
        if run.task:
            scores[run.task].append(read_scores(run.status_folder.path / (run.method or "")))
    for outcomes in alike.values():
        require_comparable(outcomes, baseline)
    for task, methods in scores.items():
        check_same_split(task, methods)


def describe_rows(grid: Grid, outcomes: list[Outcome]) -> tuple[Row, ...]:
    """All rows, with what a reader must know of their runs."""
    rows = []
    for name in [*grid.rows, *grid.config.rivals]:
        own = [outcome for outcome in outcomes if outcome.run.row == name]
        tuned = [o.run.tuned_value for o in own if o.run.tuned_value is not None]
        beyond = grid.beyond(name) if name in grid.rows else ""
        rows.append(
            Row(
                name,
                settings=grid.rows.get(name, {"model": name}),
                reference=dict(grid.config.reference.get(name, {})),
                marks=(
                    *(mark for outcome in own for mark in marks(outcome)),
                    *filter(None, [beyond]),
                ),
                beyond=beyond,
                chosen={grid.tuned_field: tuned[0]} if grid.tuned_field and tuned else {},
                measure=heldout_measure(own),
                on_plateau=tuple(o.run.seed for o in own if o.plateau and o.plateau.ends_on_it),
            )
        )
    return tuple(rows)


def heldout_measure(outcomes: list[Outcome]) -> dict[str, Any]:
    """How the pretraining among a row's runs scores held-out text, by field; empty: there is none.

    What a recipe sets for all rows counts as what a row says itself.
    """
    configs = (o.run.config for o in outcomes if isinstance(o.run.config, PretrainConfig))
    config = next(configs, None)
    return {} if config is None else measure_of(config)


def measure_of(config: PretrainConfig) -> dict[str, Any]:
    """How a recipe scores held-out text, by field."""
    evaluation = config.evaluation
    return {
        "evaluation.input_format": evaluation.input_format or config.input_format,
        "evaluation.max_length": evaluation.max_length or config.max_length,
        "evaluation.mask_probability": evaluation.mask_probability,
        "evaluation.sequences": evaluation.sequences,
    }


def describe_progress(grid: Grid) -> str:
    """How many of the grid's runs are completed, and how long all took."""
    runs = grid.distinct_runs()
    hours = sum(map(minutes_of, runs)) / 60
    finished = sum(run.is_completed for run in runs)
    return f"{finished} of {len(runs)} runs completed, {hours:.2f} hours of training"


def describe_origin(completed: list[Outcome]) -> list[str]:
    """The code, the text and the tokens that all pretraining runs share; empty where none is."""
    trained = [outcome for outcome in completed if not outcome.run.task]
    if not trained:
        return []
    environment, config = trained[0].run.folder.read_environment(), trained[0].run.config
    assert isinstance(config, PretrainConfig)
    texts = (f"{source.kind} {source.path or ''}".strip() for source in config.data.sources)
    tokens = [outcome.tokens for outcome in trained if outcome.tokens]
    lines = [
        f"code {environment['code']}, source {environment['source']}, torch "
        f"{environment['packages']['torch']}, {environment['precision']}, {environment['device']}",
        f"corpus {environment['corpus'][:16]}: {config.data.store or ', '.join(texts)}",
    ]
    if tokens:
        lines.append(f"{min(tokens):,.0f} to {max(tokens):,.0f} tokens per run")
    return lines


def measure(run: GridRun, metrics: list[str]) -> Iterator[Measurement]:
    """All that a completed run measured: those of `metrics` that a pretraining run has, or the
    dev scores of a task."""
    return _task_scores(run) if run.task else _pretraining_figures(run, metrics)


def headline(run: GridRun, metrics: list[str]) -> str:
    """A run's first figure, of a task the median of its trials, for a line of progress."""
    first = next(measure(run, metrics), None)
    if first is None:
        return ""
    same = [m.value for m in measure(run, metrics) if m.metric == first.metric] if run.task else []
    return str(replace(first, value=median(same)) if same else first)


def _pretraining_figures(run: GridRun, metrics: list[str]) -> Iterator[Measurement]:
    heldout = run.folder.last_record("heldout")
    heldout |= {n: v for n, v in run.folder.last_record("words").items() if n.startswith("word_")}
    for name in metrics:
        read = READERS.get(name)
        value = read(run.folder) if read else heldout.get(name)
        if value is not None:
            yield Measurement(run.row, METRICS[name], run.seed, value, run.run_dir)


def _task_scores(run: GridRun) -> Iterator[Measurement]:
    """Of the task and, where labels were merged for it, of the task with all labels."""
    path = run.status_folder.path
    for folder in (path / (run.method or ""), path / UNMERGED_FOLDER / (run.method or "")):
        if not (folder / SCORES).is_file():
            continue
        scores = read_scores(folder)
        for name in run.metrics or (scores.metric,):
            label = f"{scores.task} {name.replace('_', '-')}"
            metric = Metric(f"{scores.task}.{name}", label, True, 1, 100.0)
            for trial in scores.trials:
                if name in trial.dev:
                    value = trial.dev[name]
                    yield Measurement(run.row, metric, run.seed, value, folder, trial.seed)


def parameters(folder: RunFolder) -> float | None:
    """Of the encoder and its heads; None where the run did not say."""
    return folder.read_environment().get("parameters")


def fertility(folder: RunFolder) -> float | None:
    """Tokens per word of held-out text; None where a run read no text itself.

    Rust et al., 2021, How Good is Your Tokenizer?, https://arxiv.org/abs/2012.15613
    """
    environment = folder.read_environment()
    vocabulary = _Vocabulary(environment.get("tokenizer"), environment.get("corpus"), folder.path)
    return _count(vocabulary)


def plateau_left(folder: RunFolder) -> float | None:
    """Training tokens until the plateau was left; None where it was not."""
    plateau = Plateau.of(folder.read_metrics())
    return None if plateau is None else plateau.left_at_tokens


READERS: dict[str, Callable[[RunFolder], float | None]] = {
    "fertility": fertility,
    "parameters": parameters,
    "plateau_left_at_tokens": plateau_left,
}
"""how a metric is found that no held-out record has"""


@dataclass(frozen=True)
class _Vocabulary:
    """A tokenizer and its text: the same in all runs that have them."""

    tokenizer: str | None
    corpus: str | None
    run_dir: Path = field(compare=False)


@cache
def _count(vocabulary: _Vocabulary) -> float | None:
    from pretrain.data.corpus import sentences
    from pretrain.run.saved_run import open_run
    from tokenizer.tokenizer_report import tokenizer_report

    run = open_run(vocabulary.run_dir)
    if run.config.data.store:
        return None
    texts = list(islice(sentences(run.config, heldout=True), SENTENCES))
    return tokenizer_report(run.tokenizer, texts).tokens_per_word
