"""From run folders to what an ablation measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from configs.ablation_metrics import METRICS
from configs.schema import PretrainConfig
from finetune.report.method_table import check_same_split
from finetune.scoring.method_scores import MethodScores, read_scores
from launch.ablation.comparability import Outcome, marks, require_comparable
from launch.ablation.estimate import minutes_of
from launch.ablation.grid import Grid
from launch.ablation.measure import measure
from launch.ablation.measurements import Results, Row


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
        baseline=grid.baseline,
        rows=describe_rows(grid, outcomes),
        metrics=tuple(columns.values()),
        measurements=tuple(measurements),
        pretraining_runs={(run.row, run.seed): run.run_dir for run in done if not run.task},
        folder=grid.folder,
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
        rows.append(
            Row(
                name,
                settings=grid.rows.get(name, {"model": name}),
                reference=dict(grid.config.reference.get(name, {})),
                marks=tuple(mark for outcome in own for mark in marks(outcome)),
                chosen={grid.tuned_field: tuned[0]} if grid.tuned_field and tuned else {},
            )
        )
    return tuple(rows)


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
    environment, config = (
        trained[0].run.folder.read_environment(),
        trained[0].run.config,
    )
    assert isinstance(config, PretrainConfig)
    tokens = [outcome.tokens for outcome in trained if outcome.tokens]
    lines = [
        f"code {environment['code']}, source {environment['source']}, torch "
        f"{environment['packages']['torch']}, {environment['precision']}, {environment['device']}",
        f"corpus {environment['corpus'][:16]}: {describe_text(config)}",
    ]
    if tokens:
        lines.append(f"{min(tokens):,.0f} to {max(tokens):,.0f} tokens per run")
    return lines


def describe_text(config: PretrainConfig) -> str:
    """The text that a run read, in words."""
    data = config.data
    if data.store:
        return data.store
    return ", ".join(f"{source.kind} {source.path or ''}".strip() for source in data.sources)
