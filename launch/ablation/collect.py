"""From run folders to what an ablation found."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from configs.system.run_status import read_environment
from finetune.report.method_table import check_same_split
from finetune.scoring.method_scores import MethodScores, read_scores
from launch.ablation.cells import Cell, Grid
from launch.ablation.comparability import Run, marks, require_comparable
from launch.ablation.estimate import minutes_of
from launch.ablation.scores import METRICS, scores_of
from launch.ablation.study import Measurement, Row, Study


def gather(grid: Grid) -> Study:
    """What the completed cells measured, once it is certain that they compare.

    Raises:
        InputError: two runs differ in more than the ablation studies.
    """
    config, runs = grid.config, [Run(cell) for cell in grid.measured()]
    completed = [run for run in runs if run.cell.is_completed]
    check(completed, grid.baseline)
    done = [run.cell for run in completed]
    found = [(cell, score) for cell in done for score in scores_of(config, cell)]
    shown = {METRICS[name].name: METRICS[name] for name in config.metrics}
    shown |= {score.metric.name: score.metric for _, score in found}
    return Study(
        name=Path(config.run_dir).name,
        title=config.title or Path(config.run_dir).name,
        question=config.question,
        source=config.source,
        scale=config.scale,
        baseline=grid.baseline,
        rows=rows(grid, runs),
        metrics=tuple(shown.values()),
        measurements=tuple(
            Measurement(cell.row, s.metric.name, cell.seed, s.value, s.folder, s.finetuning_seed)
            for cell, s in found
        ),
        pretraining_runs={(cell.row, cell.seed): cell.run_dir for cell in done if not cell.task},
        folder=grid.folder,
        notes=notes(grid, completed),
    )


def check(completed: list[Run], baseline: str) -> None:
    """Raise `InputError` unless pretraining runs, and those of each task, differ as they should."""
    alike: dict[str, list[Run]] = defaultdict(list)
    scores: dict[str, list[MethodScores]] = defaultdict(list)
    for run in completed:
        cell = run.cell
        if not cell.method:
            alike[cell.task or ""].append(run)
        if cell.task:
            scores[cell.task].append(read_scores(cell.results / (cell.method or "")))
    for runs in alike.values():
        require_comparable(runs, baseline)
    for task, methods in scores.items():
        check_same_split(task, methods)


def rows(grid: Grid, runs: list[Run]) -> tuple[Row, ...]:
    """All rows, with what a reader must know of their runs."""
    found = []
    for name in [*grid.rows, *grid.config.rivals]:
        own = [run for run in runs if run.cell.row == name]
        tuned = [run.cell.value for run in own if run.cell.value is not None]
        found.append(
            Row(
                name,
                grid.rows.get(name, {"model": name}),
                dict(grid.config.reference.get(name, {})),
                tuple(mark for run in own for mark in marks(run)),
                {grid.field: tuned[0]} if tuned else {},
            )
        )
    return tuple(found)


def notes(grid: Grid, completed: list[Run]) -> tuple[str, ...]:
    """What holds for all runs."""
    trained = [run for run in completed if not run.cell.task]
    cells = {cell.run_dir: cell for cell in grid.cells()}
    hours = sum(minutes_of(cell) for cell in cells.values()) / 60
    finished = sum(cell.is_completed for cell in cells.values())
    lines = [f"{finished} of {len(cells)} runs completed, {hours:.2f} hours of training"]
    if trained:
        environment = read_environment(trained[0].cell.run_dir)
        tokens = [run.tokens for run in trained if run.tokens]
        lines += [
            f"code {environment['code']}, source {environment['source']}, torch "
            f"{environment['packages']['torch']}, {environment['precision']}, "
            f"{environment['device']}",
            f"corpus {environment['corpus'][:16]}: {_sources(trained[0].cell)}",
        ]
        lines += [f"{min(tokens):,.0f} to {max(tokens):,.0f} tokens per run"] if tokens else []
    return tuple(lines)


def _sources(cell: Cell) -> str:
    """The text that a run read, in words."""
    data = cell.config.data
    if data.store:
        return data.store
    return ", ".join(f"{source.kind} {source.path or ''}".strip() for source in data.sources)
