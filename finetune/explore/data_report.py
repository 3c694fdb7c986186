"""The report on a task's data: what is in the files, before anything is learnt from them.

Everything below the label balance is about the training split, so that nobody chooses by what dev
and test hold.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.system.files import write_text
from configs.system.run_names import REPORT
from configs.system.safe_text import markdown, visible
from configs.system.secrets import hide
from finetune.data.example import are_labelled
from finetune.explore import data_plots, task_data, text_parts
from finetune.explore.task_data import TaskData, TokenCounts
from finetune.explore.terms import term_steps
from finetune.report.markdown_tables import Gallery, bullets, percent, short, table
from tokenizer.base import Tokenizer

logger = logging.getLogger(__name__)

CELL = 60
"""longest quotation in a table, in characters"""
SHOWN = 3
"""values that are no dates"""


def explore(config: FinetuneConfig, paths: Sequence[Path], output: Path) -> None:
    """Read a task, write the report on its data into `output`, and log a summary.

    Args:
        paths: tokenizers to count tokens with, as `task_data.open_tokenizers` takes them.
    Raises:
        InputError: the task is of another kind than classification, or cannot be read.
    """
    if config.task.kind != "classification":
        raise InputError(f"task.kind={config.task.kind}: the data report is for classification")
    tokenizers, data = task_data.open_tokenizers(paths), task_data.read_task(config.task)
    output.mkdir(parents=True, exist_ok=True)
    for line in overview(data):
        logger.info(visible(line))
    for line in write_data_report(data, tokenizers, config.max_length, output):
        logger.info(visible(line))
    logger.info(f"done: {visible(output / REPORT)}")


def write_data_report(
    data: TaskData, tokenizers: dict[str, Tokenizer], max_length: int, output: Path
) -> list[str]:
    """report.md and plots/ in `output`; returns a summary, line by line.

    Args:
        data: of a classification task.
        tokenizers: by name; if there are none, small ones are trained.
        max_length: longest sequence of the model in tokens.
    """
    train = data.splits.train
    tokenizers = tokenizers or task_data.train_tokenizers(task_data.texts_of(train))
    counts = [task_data.count_tokens(*named, train) for named in tokenizers.items()]
    heldout = [task_data.count_tokens(*named, data.splits.dev) for named in tokenizers.items()]
    steps, terms = task_data.clean_by_steps(
        task_data.texts_of(train, raw=True), term_steps(data.config.preprocess.stop_words)
    )
    gallery = Gallery(output)
    parts = [
        f"# The data of {markdown(data.config.name)}",
        bullets(overview(data)),
        *columns_part(data, gallery),
        *dates_part(data, gallery),
        *labels_part(data, gallery),
        *text_parts.lengths_part(data, counts[0], gallery),
        *text_parts.words_part(data, terms, gallery),
        *text_parts.tokens_part(counts, heldout, max_length, gallery),
        *text_parts.cleaning_part(data, steps),
        *text_parts.examples_part(data),
    ]
    write_text(output / REPORT, hide("\n\n".join(parts)) + "\n")
    return summary(data, counts, max_length)


def overview(data: TaskData) -> list[str]:
    """What was read, and what reading changed."""
    files = ", ".join(f"{t.path.name} ({len(t.rows):,} rows)" for t in data.tables)
    return [
        f"files: {files}",
        f"examples: {data.splits.sizes}",
        f"cleaning: {data.config.preprocess.words}",
        *data.splits.notes,
    ]


def columns_part(data: TaskData, gallery: Gallery) -> list[str]:
    """Non-null counts and missing values of every file."""
    parts = ["## Columns"]
    for rows in data.tables:
        columns = task_data.profile_columns(rows)
        name = markdown(rows.path.name)
        cells = [
            [
                *(c.name, c.present, c.missing, percent(c.missing / (c.present + c.missing))),
                *(c.distinct, short(c.example, CELL)),
            ]
            for c in columns
        ]
        header = ["column", "non-null", "missing", "missing %", "distinct", "example"]
        parts += [f"{name}, {len(rows.rows):,} rows:", table(header, cells)]
        parts += [
            f"- {markdown(c.name)}: {c.blank:,} of the non-null values are white space only"
            for c in columns
            if c.blank
        ]
    first = task_data.profile_columns(data.tables[0])
    title = "non-null values by column"
    return [*parts, gallery.add("columns", title, data_plots.plot_columns, first)]


def dates_part(data: TaskData, gallery: Gallery) -> list[str]:
    """Formats and range of each column of dates, and examples by day."""
    parts = ["## Dates"] if data.dates else []
    for number, (name, dates) in enumerate(data.dates.items(), start=1):
        days = Counter(day for day in dates.days if day)
        rows = [
            [f.name, f.rows, f.ambiguous, f.decided_by, str(f.first), str(f.last)]
            for f in dates.formats
        ]
        header = ["format", "rows", "ambiguous", "these decided by", "first", "last"]
        parts += [f"{markdown(name)}: {day_range(days)}.", table(header, rows)]
        if dates.unread:
            values = ", ".join(map(markdown, dict.fromkeys(dates.unread[:SHOWN])))
            parts.append(f"{len(dates.unread):,} values are no dates, e.g. {values}")
        title = f"examples by day ({markdown(name)})"
        parts.append(gallery.add(f"days_{number}", title, data_plots.plot_days, days))
    return parts


def day_range(days: Iterable[date]) -> str:
    """From when to when."""
    different = set(days)
    return f"{min(different)} to {max(different)}, {len(different):,} different days"


def labels_part(data: TaskData, gallery: Gallery) -> list[str]:
    """The balance in the files and in each split; merged labels below."""
    config, labels = data.config, data.splits.labels
    labelled = [rows for rows in data.tables if config.label in rows.columns]
    in_files = Counter(row[config.label] for rows in labelled for row in rows.rows)
    counts = {
        name: np.bincount([e.label for e in part], minlength=len(labels))
        for name, part in data.splits.parts.items()
        if are_labelled(part)
    }
    panels = {"all labels": by_split(counts, labels, range(len(labels)))}
    parts = ["## Labels", balance_table(panels["all labels"], in_files)]
    if data.task.shown_labels != labels:
        merged: Counter[str] = Counter()
        for label, count in in_files.items():
            merged[config.merge.get(label, label)] += count
        panels["merged"] = by_split(counts, data.task.shown_labels, data.task.places)
        parts += ["Merged:", balance_table(panels["merged"], merged)]
    else:
        panels = {"": panels["all labels"]}
    return [*parts, gallery.add("labels", "label balance", data_plots.plot_balance, panels)]


def by_split(
    counts: dict[str, np.ndarray], labels: Sequence[str], places: Sequence[int]
) -> dict[str, dict[str, int]]:
    """Label to split to count, where label number i counts as number `places[i]`."""
    added = {n: np.bincount(places, values, minlength=len(labels)) for n, values in counts.items()}
    return {
        label: {name: int(values[place]) for name, values in added.items()}
        for place, label in enumerate(labels)
    }


def balance_table(panel: dict[str, dict[str, int]], in_files: Counter[str]) -> str:
    """Counts in the files, counts and shares in each split."""
    names = list(next(iter(panel.values())))
    totals = {name: sum(counts[name] for counts in panel.values()) for name in names}
    header = ["label", "in the files", *(cell for name in names for cell in (name, f"{name} %"))]
    rows = [
        [
            label,
            in_files[label],
            *(cell for n in names for cell in (counts[n], percent(counts[n] / totals[n]))),
        ]
        for label, counts in panel.items()
    ]
    return table(header, rows)


def summary(data: TaskData, counts: Sequence[TokenCounts], max_length: int) -> list[str]:
    """The report in a few lines."""
    columns = [column for column in task_data.profile_columns(data.tables[0]) if column.missing]
    missing = ", ".join(f"{column.name} {column.missing:,}" for column in columns) or "none"
    words = task_data.summarize([task_data.words_of(example) for example in data.splits.train])
    targets = [example.label for example in data.splits.train]
    shares = np.bincount(targets, minlength=len(data.splits.labels)) / len(targets)
    balance = ", ".join(f"{n} {percent(s)} %" for n, s in zip(data.splits.labels, shares))
    return [
        f"missing  {missing}",
        *(f"dates    {name}: {day_range(filter(None, d.days))}" for name, d in data.dates.items()),
        f"labels   {balance}",
        f"words    median {words.quantiles[0]}, 95 % {words.quantiles[2]}, longest {words.longest}",
        *(
            f"tokens   {c.name}: {c.tokens_per_word:.3f} a word, longest {c.lengths.max()}, "
            f"{text_parts.beyond(c, max_length)} % beyond {max_length}"
            for c in counts
        ),
    ]
