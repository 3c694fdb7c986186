"""The texts of one column of a Parquet file, a few megabytes at a time."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.text.compression import compression_of, open_unpacked
from pretrain.text.lines import Fault, too_long
from pretrain.text.rows import COLUMN_CURE, Column

if TYPE_CHECKING:
    import pyarrow

OF_TEXT = re.compile(r"((large_)?(string|binary)|(string|binary)_view|null)$|fixed_size_binary")
"""Arrow's names of types that hold text or bytes"""
BATCH_BYTES = 8_000_000
"""of the column, about"""


def parquet_texts(path: Path, column: Column) -> Iterator[str]:
    """The texts of a Parquet file's column of strings or bytes; raises `Fault`: the column is
    missing or of another type, or bytes are not in the encoding."""
    import pyarrow.parquet

    if compression_of(path):
        with tempfile.TemporaryFile() as plain, open_unpacked(path) as packed:
            shutil.copyfileobj(packed, plain)
            yield from _parquet_texts(pyarrow.parquet.ParquetFile(plain), column)
    else:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from _parquet_texts(file, column)


def _parquet_texts(file: pyarrow.parquet.ParquetFile, column: Column) -> Iterator[str]:
    schema = file.schema_arrow
    column.check_names(schema.names)
    _check_type(schema.field(column.name).type, column.name)
    read = 0
    for batch in file.iter_batches(_batch_rows(file, column.name), columns=[column.name]):
        values = batch.column(0)
        long = _first_beyond(values, column.most)
        for number, value in enumerate(values, start=read + 1):
            if number - read - 1 == long:  # before it becomes a string, and takes as much again
                raise Fault(too_long("a text", column.most), row=number)
            try:
                yield column.text(value.as_py(), row=number)
            except UnicodeDecodeError as error:
                what = f"text that is not UTF-8 ({error.reason}): repair it"
                raise Fault(what, row=number) from error
        read += len(values)


def _first_beyond(values: pyarrow.Array, most: int) -> int | None:
    """The place of the first value of more than `most` bytes."""
    import pyarrow
    from pyarrow import compute

    if not isinstance(values, (pyarrow.StringArray, pyarrow.BinaryArray)):
        return None  # of the rarer types each value is measured when it is a string
    first = int(compute.index(compute.greater(compute.binary_length(values), most), True).as_py())
    return None if first < 0 else first


def _check_type(kind: pyarrow.DataType, name: str) -> None:
    """Raise `Fault` for a column that holds neither text nor bytes."""
    import pyarrow

    while isinstance(kind, (pyarrow.DictionaryType, pyarrow.RunEndEncodedType)):
        kind = kind.value_type
    if not OF_TEXT.match(str(kind)):
        raise Fault(f"column '{name}' holds {kind}, not text: {COLUMN_CURE}")


def _batch_rows(file: pyarrow.parquet.ParquetFile, name: str) -> int:
    """Rows that hold about `BATCH_BYTES` of the column, by the file's own counts."""
    meta = file.metadata
    place = next(i for i in range(meta.num_columns) if meta.schema.column(i).path == name)
    groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
    size: int = sum(group.column(place).total_uncompressed_size for group in groups)
    rows: int = BATCH_BYTES * max(1, meta.num_rows) // max(1, size)
    return max(1, min(4096, rows))
