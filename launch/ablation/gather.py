"""From run folders to what an ablation found."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from configs.run_status import read_environment
from finetune.report.scores import Scores, read_scores
from finetune.report.table import check_same_split
from launch.ablation.cells import Cell, Grid
from launch.ablation.estimate import minutes_of
from launch.ablation.honesty import Run, marks, require_comparable
from launch.ablation.scores import METRICS, scores_of
from launch.ablation.study import Measurement, Row, Study


def gather(grid: Grid) -> Study:
    """What the completed cells measured, once it is certain that they compare.

    Raises:
        InputError: two runs differ in more than the ablation studies.
    """
    config, cells = grid.config, grid.measured()
    done = [cell for cell in cells if cell.is_completed]
    check(done, grid.baseline)
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
        rows=rows(grid, cells),
        metrics=tuple(shown.values()),
        measurements=tuple(
            Measurement(
                cell.row, s.metric.name, cell.seed, s.value, cell.run_dir, s.finetuning_seed
            )
            for cell, s in found
        ),
        pretraining_runs={(cell.row, cell.seed): cell.run_dir for cell in done if not cell.task},
        folder=grid.folder,
        notes=notes(grid, done),
    )


def check(done: list[Cell], baseline: str) -> None:
    """Raise `InputError` unless pretraining runs, and those of each task, differ as they should."""
    alike: dict[str, list[Run]] = defaultdict(list)
    scores: dict[str, list[Scores]] = defaultdict(list)
    for cell in done:
        if not cell.method:
            alike[cell.task or ""].append(Run(cell))
        if cell.task:
            scores[cell.task].append(read_scores(cell.results / (cell.method or "")))
    for runs in alike.values():
        require_comparable(runs, baseline)
    for task, methods in scores.items():
        check_same_split(task, methods)


def rows(grid: Grid, cells: list[Cell]) -> tuple[Row, ...]:
    """All rows, with what a reader must know of their runs."""
    found = []
    for name in [*grid.rows, *grid.config.rivals]:
        own = [cell for cell in cells if cell.row == name]
        tuned = [cell.value for cell in own if cell.value is not None]
        found.append(
            Row(
                name,
                grid.rows.get(name, {"model": name}),
                dict(grid.config.reference.get(name, {})),
                tuple(mark for cell in own for mark in marks(cell)),
                {grid.field: tuned[0]} if tuned else {},
            )
        )
    return tuple(found)


def notes(grid: Grid, done: list[Cell]) -> tuple[str, ...]:
    """What holds for all runs."""
    trained = [cell for cell in done if not cell.task]
    cells = {cell.run_dir: cell for cell in grid.cells()}
    hours = sum(minutes_of(cell) for cell in cells.values()) / 60
    finished = sum(cell.is_completed for cell in cells.values())
    lines = [f"{finished} of {len(cells)} runs completed, {hours:.1f} hours of training"]
    if trained:
        environment = read_environment(trained[0].run_dir)
        tokens = [run.tokens for run in map(Run, trained) if run.tokens]
        lines += [
            f"code {environment['code']}, source {environment['source']}, torch "
            f"{environment['packages']['torch']}, {environment['precision']}, "
            f"{environment['device']}",
            f"corpus {environment['corpus'][:16]}: {_sources(trained[0])}",
        ]
        lines += [f"{min(tokens):,.0f} to {max(tokens):,.0f} tokens per run"] if tokens else []
    return tuple(lines)


def _sources(cell: Cell) -> str:
    """The text that a run read, in words."""
    data = cell.config.data
    if data.store:
        return data.store
    return ", ".join(f"{source.kind} {source.path or ''}".strip() for source in data.sources)
