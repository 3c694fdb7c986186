"""From `task.kind` to the class."""

from __future__ import annotations

from collections.abc import Sequence

from configs.task_schema import TaskConfig
from finetune.tasks.choice import ChoiceTask
from finetune.tasks.span import SpanTask
from finetune.tasks.tagging import TaggingTask
from finetune.tasks.task import AnyTask
from finetune.tasks.text import ClassificationTask, RegressionTask

KINDS: dict[str, type[AnyTask]] = {
    "classification": ClassificationTask,
    "regression": RegressionTask,
    "span": SpanTask,
    "choice": ChoiceTask,
    "tagging": TaggingTask,
}


def make_task(config: TaskConfig, max_length: int, labels: Sequence[str] = ()) -> AnyTask:
    """The task that a configuration describes; `labels` as in `Task`."""
    return KINDS[config.kind](config, max_length, labels)
