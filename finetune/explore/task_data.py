"""A task's files and examples as the data report looks at them, and what it counts in them:
columns, lengths, what cleaning takes away, and how many tokens each tokenizer makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from configs.errors import InputError
from configs.schema import TokenizerConfig
from configs.system.run_names import TOKENIZER
from configs.task_schema import TaskConfig
from finetune.data.dates import Dates, read_dates
from finetune.data.example import Splits, TextExample
from finetune.data.tables import TableFile
from finetune.data.texts import TextReader, read_text_splits
from finetune.tasks.text import ClassificationTask
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer
from tokenizer.training import train_tokenizer

SHARES = (0.5, 0.9, 0.95, 0.99)
KINDS: Final = ("wordpiece", "byte-bpe", "sentencepiece")
VOCABULARY = 8192


@dataclass(frozen=True)
class TaskData:
    """A task's files and examples, with all labels they have."""

    config: TaskConfig
    tables: list[TableFile]
    """the files, train first"""
    splits: Splits[TextExample]

    @cached_property
    def task(self) -> ClassificationTask:
        """The task, which knows what each label is merged into."""
        return ClassificationTask(self.config, 0, self.splits.labels)

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


def read_task(config: TaskConfig) -> TaskData:
    """Read everything once; raises `InputError` as `read_text_splits` does."""
    unmerged = config.unmerged or (config.name if config.merge else None)
    splits = read_text_splits(replace(config, unmerged=unmerged))
    return TaskData(config, list(TextReader(config).tables().values()), splits)


def words_of(example: TextExample) -> int:
    """Words of a cleaned text or pair."""
    return len(example.text.split()) + len((example.pair or "").split())


def texts_of(examples: Sequence[TextExample], raw: bool = False) -> list[str]:
    """All texts, both of a pair; raw ones as in the file, but for second ones of pairs."""
    texts = [example.raw if raw else example.text for example in examples]
    return texts + [example.pair for example in examples if example.pair is not None]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    present: int
    """cells that are not empty"""
    missing: int
    blank: int
    """cells of `present` that hold white space only"""
    distinct: int
    """different values among those present"""
    example: str
    """the first value that shows something"""


def profile_columns(table: TableFile) -> list[Column]:
    """Every column, in the file's order."""
    columns = []
    for name in table.columns:
        present = [row[name] for row in table.rows if row[name]]
        shown = [value for value in present if value.strip()]
        missing, blank = len(table.rows) - len(present), len(present) - len(shown)
        example = shown[0] if shown else ""
        columns.append(Column(name, len(present), missing, blank, len(set(present)), example))
    return columns


@dataclass(frozen=True)
class Lengths:
    """How long the texts of a group are."""

    texts: int
    mean: float
    quantiles: tuple[int, ...]
    """lengths that occur, not exceeded by `SHARES` of the texts"""
    longest: int


def summarize(lengths: Sequence[int] | np.ndarray) -> Lengths:
    """Of one text or more."""
    values = np.asarray(lengths)
    quantiles = np.quantile(values, SHARES, method="inverted_cdf").astype(int).tolist()
    return Lengths(len(values), float(values.mean()), tuple(quantiles), int(values.max()))


@dataclass(frozen=True)
class CleaningStep:
    """What one step of cleaning does, after those before it."""

    name: str
    words: int
    """between white space, in all texts, after the step"""
    changed: int
    """texts that it changes"""


def clean_by_steps(
    texts: Sequence[str], functions: Sequence[tuple[str, Callable[[str], str]]]
) -> tuple[list[CleaningStep], list[str]]:
    """The effect of each step in turn, and the texts after the last; the first row is the texts
    as they are."""
    now = list(texts)
    steps = [CleaningStep("(as in the file)", count_words(now), 0)]
    for name, function in functions:
        before, now = now, [function(text) for text in now]
        changed = sum(a != b for a, b in zip(before, now))
        steps.append(CleaningStep(name, count_words(now), changed))
    return steps, now


def count_words(texts: Sequence[str]) -> int:
    """What stands between white space, in all texts together."""
    return sum(len(text.split()) for text in texts)


@dataclass(frozen=True)
class TokenCounts:
    """A tokenizer on a list of examples."""

    name: str
    kind: str
    entries: int
    lengths: np.ndarray
    """tokens of each example as the model sees it uncut, special tokens included"""
    tokens_per_word: float
    """fertility (Rust et al., 2021, section 3.2), special tokens left out"""
    unknown: float
    """share of tokens that are the unknown token"""


def count_tokens(name: str, tokenizer: Tokenizer, examples: Sequence[TextExample]) -> TokenCounts:
    """Encode all examples."""
    texts = texts_of(examples)
    encoded = tokenizer.encode_batch(texts)
    # Rows: all first texts, and of pairs all second ones.
    sizes = np.array([len(ids) for ids in encoded]).reshape(-1, len(examples))
    ids = np.concatenate(encoded)
    return TokenCounts(
        name=name,
        kind=tokenizer.kind,
        entries=tokenizer.vocabulary_size,
        lengths=sizes.sum(0) + (2 if len(sizes) == 1 else tokenizer.framing.special_tokens),
        tokens_per_word=len(ids) / max(count_words(texts), 1),
        unknown=float((ids == tokenizer.special.unk).mean()),
    )


def open_tokenizers(paths: Sequence[Path]) -> dict[str, Tokenizer]:
    """Tokenizers by name: saved folders, run folders, published vocabularies."""
    opened = {}
    for path in paths:
        folder = path / TOKENIZER if (path / TOKENIZER).is_dir() else path
        try:
            tokenizer = load_tokenizer(folder)
        except InputError:  # an uncased vocabulary is refused as a cased one; others come again
            tokenizer = load_tokenizer(folder, lowercase=True)
        place = folder.parent if folder.name == TOKENIZER else folder
        name = place.resolve().stem
        opened[str(path) if name in opened else name] = tokenizer
    return opened


def train_tokenizers(texts: Sequence[str]) -> dict[str, Tokenizer]:
    """One of each kind, of `VOCABULARY` entries or what the texts allow."""
    configs = (TokenizerConfig(kind, VOCABULARY, allow_smaller_vocabulary=True) for kind in KINDS)
    return {f"{own.kind}, trained here": train_tokenizer(own, texts) for own in configs}
