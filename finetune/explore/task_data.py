"""A task's files and examples as the data report looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from configs.task_schema import TaskConfig
from finetune.data.dates import Dates, read_dates
from finetune.data.example import Splits, TextExample
from finetune.data.tables import TableFile
from finetune.data.texts import TextReader, read_text_splits


@dataclass(frozen=True)
class TaskData:
    """A task's files and examples, with all labels they have."""

    config: TaskConfig
    tables: list[TableFile]
    """the files, train first"""
    splits: Splits[TextExample]

    @cached_property
    def becomes(self) -> list[str]:
        """Of every label, the one that it is merged into, or itself."""
        return [self.config.merge.get(label, label) for label in self.splits.labels]

    @cached_property
    def merged(self) -> tuple[str, ...]:
        """The labels that are left after `task.merge`, in the configuration's order."""
        order = self.config.labels or self.becomes
        return tuple(sorted(set(self.becomes), key=order.index))

    @cached_property
    def places(self) -> list[int]:
        """Of every label, its place among the merged ones."""
        return [self.merged.index(label) for label in self.becomes]

    @cached_property
    def dates(self) -> dict[str, Dates]:
        """The training file's columns of dates."""
        texts = (self.config.text, self.config.text_pair, self.config.label)
        table = self.tables[0]
        read = {
            name: read_dates([row[name] for row in table.rows])
            for name in table.columns
            if name not in texts
        }
        return {name: dates for name, dates in read.items() if dates}

    @cached_property
    def parts(self) -> dict[str, list[TextExample]]:
        """The examples of every split that has some, train first."""
        return {"train": self.splits.train, **self.splits.evaluated}


def read_task(config: TaskConfig) -> TaskData:
    """Read everything once; raises `InputError` as `read_text_splits` does."""
    unmerged = config.unmerged or (config.name if config.merge else None)
    splits = read_text_splits(replace(config, unmerged=unmerged))
    return TaskData(config, list(TextReader(config).tables().values()), splits)


def words_of(example: TextExample) -> int:
    """Words of a cleaned text or pair."""
    return len(example.text.split()) + len((example.pair or "").split())


def raw_texts(examples: Sequence[TextExample]) -> list[str]:
    """All texts as in the file; the second ones of pairs are known cleaned only."""
    texts = [example.raw for example in examples]
    return texts + [example.pair for example in examples if example.pair is not None]
