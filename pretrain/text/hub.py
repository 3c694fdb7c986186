"""Texts out of a data set of the Hugging Face hub, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from configs.errors import InputError, first_line
from configs.schema import SourceConfig
from pretrain.text.lines import Fault
from pretrain.text.rows import Column
from pretrain.text.text_files import largest

if TYPE_CHECKING:
    from datasets import IterableDataset


def hub_files(source: SourceConfig) -> int:
    """Of how many files a hub data set consists; raises as `read_hub` does."""
    with _hub_errors(source):
        return int(_open_hub(source).num_shards)


def read_hub(source: SourceConfig, file: int) -> Iterator[str]:
    """The texts of file number `file` of a hub data set, "" for null.

    The source's `path` may pin a revision: `owner/name@v1.0`.

    Raises:
        InputError: the data set, its subset or its split cannot be had, or the column is missing or
            holds something else than text.
    """
    with _hub_errors(source):
        rows = _open_hub(source)
        rows = rows.shard(num_shards=rows.num_shards, index=file)
        try:
            yield from _texts(rows, Column(source.column, largest(source), source.encoding))
        except Fault as fault:
            place = f", row {fault.row}" if fault.row else ""
            raise InputError(f"{source.path}{place}: {fault.problem}") from fault


def _texts(rows: IterableDataset, column: Column) -> Iterator[str]:
    column.check_names(rows.column_names or list(next(iter(rows), {column.name: None})))
    for number, row in enumerate(rows.select_columns(column.name), start=1):
        yield column.text(row[column.name], row=number)


def _open_hub(source: SourceConfig) -> IterableDataset:
    from datasets import load_dataset, load_dataset_builder, logging

    # The library logs each failure before it raises it, and we report what is raised.
    logging.set_verbosity(logging.CRITICAL)
    assert source.path is not None, "the schema asks for one"
    name, _, revision = source.path.partition("@")
    where = {"path": name, "name": source.subset, "revision": revision or None}
    options = {}
    if hasattr(load_dataset_builder(**where).config, "keep_default_na"):
        # A table's cells as they are written: pandas would guess numbers, and NA to be nothing.
        options = {"converters": {source.column: str}, "keep_default_na": False}
    return load_dataset(**where, split=source.split, streaming=True, **options)


@contextmanager
def _hub_errors(source: SourceConfig) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"data.sources: cannot read the hub data set {source.path}, subset={source.subset}, "
            f"split={source.split} ({first_line(error)}): check these names and the network"
        ) from error
