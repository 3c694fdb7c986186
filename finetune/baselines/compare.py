"""All classical methods on a task's own split, by launch/finetune.py and `model=classical`."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

from configs.errors import InputError
from configs.finetune_schema import PLACES, FinetuneConfig
from configs.system.files import write_text
from configs.system.notes import EVERY_RANK
from configs.system.run_names import UNMERGED_FOLDER
from configs.system.safe_text import visible
from configs.system.secrets import hide
from configs.system.version import FINETUNING
from configs.task_schema import TaskConfig
from finetune.baselines.rivals import RIVALS, run_rival
from finetune.data.example import Splits, TextExample, digest_examples
from finetune.data.texts import read_text_splits
from finetune.report.method_table import comparison
from finetune.scoring.method_scores import summary
from pretrain.ranks.agreement import Agreement, failing_together
from pretrain.ranks.world import World
from pretrain.run import describe
from pretrain.run.describe import LEARNING, start_facts
from pretrain.run.log import duration
from pretrain.run.status import kept_status, owned

logger = logging.getLogger(__name__)

ALL = "classical"


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
    if not any(name in RIVALS for name in names):
        return []
    for name in names:
        if name not in RIVALS:
            raise InputError(f"model={model}: no rival is called '{name}': {', '.join(RIVALS)}")
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
            text = comparison([task.folder / name for task in tasks for name in names])
            write_text(output / "table.md", hide(text))
            logger.info(f"\n{text}\ndone: {visible(output)}/table.md")
    return output


def run_rivals(names: list[str], tasks: list[RivalTask], world: World) -> None:
    """Every method on every task, ranks taking turns; a line for each."""
    started, work = time.monotonic(), [(name, task) for name in names for task in tasks]
    for number, (name, task) in enumerate(work, start=1):
        if number % world.size == world.rank:
            scores = run_rival(name, task.config, task.splits, task.folder)
            accuracy, macro_f1 = (summary(scores.values(x)) for x in ("accuracy", "macro_f1"))
            logger.info(
                f"{number:>2}/{len(work)}  {visible(task.config.task.name):<10} {name:<24} "
                f"accuracy {accuracy}  "
                f"macro-F1 {macro_f1}  {duration(time.monotonic() - started)} passed",
                extra=EVERY_RANK,
            )


def read_tasks(config: FinetuneConfig, output: Path) -> list[RivalTask]:
    """The task with its merged labels; with `task.unmerged` also the one with all labels."""
    task = config.task
    if task.kind != "classification":
        raise InputError(f"task.kind={task.kind}: the classical methods classify texts")
    tasks = [read_task(config, replace(task, unmerged=None), output)]
    if task.unmerged:
        tasks.append(read_task(config, replace(task, name=task.unmerged), output / UNMERGED_FOLDER))
    return tasks


def read_task(config: FinetuneConfig, task: TaskConfig, folder: Path) -> RivalTask:
    """A task's examples."""
    return RivalTask(folder, replace(config, task=task), read_text_splits(task))
