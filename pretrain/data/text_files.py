"""Text out of files and hub data sets, streamed document by document.

Lines of text and of JSON are read by `lines.py`, since jobs share plain files by ranges of bytes;
tables and hub data sets by the `datasets` library. This module finds the files, checks the column,
and, where reading fails, scans the file again to say which line is to blame.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import InputError
from configs.schema import SourceConfig
from pretrain.data.lines import COMPRESSIONS, Span, blocks, json_rows, open_bytes, text_lines

if TYPE_CHECKING:
    from datasets import IterableDataset

EXTENSIONS = {
    "text": (".txt",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}


def find_files(source: SourceConfig) -> list[Path]:
    """The files of a source in sorted order: one file, those of a folder, or those of a glob.

    A folder counts, at any depth, the files whose extension fits the kind (EXTENSIONS).

    Raises:
        InputError: there is no such file.
    """
    path = Path(source.path).expanduser()
    if path.is_file():
        return [path]
    endings = tuple(e + c for e in EXTENSIONS[source.kind] for c in ("", *COMPRESSIONS))
    if path.is_dir():
        found = [entry for entry in path.rglob("*") if entry.name.endswith(endings)]
        cure = f"files must end in {' or '.join(EXTENSIONS[source.kind])}; name others by a glob"
    else:
        found = [Path(name) for name in glob(str(path), recursive=True)]
        cure = "check the path"
    files = sorted(entry for entry in found if entry.is_file())
    if not files:
        raise InputError(f"data.sources: no {source.kind} file at {path}: {cure}")
    return files


def can_split(path: Path, source: SourceConfig) -> bool:
    """Whether a file can be read from the middle: plain text or JSON, line by line."""
    return path.suffix not in COMPRESSIONS and _is_lines(path, source)


def read_file(path: Path, source: SourceConfig, span: Span | None = None) -> Iterator[str]:
    """The documents of one file, in memory that does not grow with the file.

    Args:
        span: read these bytes alone, of a file that `can_split`.
    Raises:
        InputError: the file is damaged or not UTF-8, a row is broken, or the column is missing.
    """
    if not path.stat().st_size:
        return
    try:
        if path.suffix == ".zst":
            _check_frames(path)
        if _is_lines(path, source):
            yield from _read_lines(path, source, span)
        else:
            rows = _load(path, source)
            yield from _column_values(rows, source.column, str(path))
    except InputError:
        raise
    except Exception as error:
        raise _explain(path, source.kind, error) from error


def hub_files(source: SourceConfig) -> int:
    """Of how many files a hub data set consists; raises as `read_hub` does."""
    with _hub_errors(source):
        return _open_hub(source).num_shards


def read_hub(source: SourceConfig, file: int | None = None) -> Iterator[str]:
    """The documents of a hub data set; `path` may pin a revision, as in `owner/name@v1.0`.

    Args:
        file: read this one of its files alone.
    Raises:
        InputError: the data set, its subset or its split cannot be had, or the column is missing.
    """
    with _hub_errors(source):
        rows = _open_hub(source)
        if file is not None:
            rows = rows.shard(num_shards=rows.num_shards, index=file)
        yield from _column_values(rows, source.column, source.path)


def _open_hub(source: SourceConfig) -> IterableDataset:
    from datasets import load_dataset

    name, _, revision = source.path.partition("@")
    return load_dataset(
        name, source.subset, split=source.split, revision=revision or None, streaming=True
    )


@contextmanager
def _hub_errors(source: SourceConfig) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"data.sources: cannot read the hub data set {source.path}, subset={source.subset}, "
            f"split={source.split} ({_first_line(error)}): check these names and the network"
        ) from error


def _is_lines(path: Path, source: SourceConfig) -> bool:
    """Text, and JSON but for .json files, which may hold one list over many lines."""
    name = path.name
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return source.kind == "text" or (source.kind == "jsonl" and not name.endswith(".json"))


def _read_lines(path: Path, source: SourceConfig, span: Span | None) -> Iterator[str]:
    with open_bytes(path, span) as stream:
        if source.kind == "text":
            lines = text_lines(stream)
            yield from lines if source.documents == "line" else blocks(lines)
        else:
            where = f"{path} from byte {span.start:,} on" if span and span.start else str(path)
            yield from _values(json_rows(stream, where), source.column, where)


def _values(rows: Iterable[dict], column: str, where: str) -> Iterator[str]:
    """The texts of one column of JSON rows, each of which may lack it, but not all.

    Raises:
        InputError: no row has the column, or it holds lists or objects.
    """
    names, found = [], False
    for number, row in enumerate(rows, start=1):
        names, found = names or list(row), found or column in row
        value = row.get(column)
        _check_value(value, column, f"{where}, row {number}", names)
        if value is not None:
            text = str(value)
            text.encode()  # half of a surrogate pair is found here, where the row is known
            yield text
    if names and not found:
        raise InputError(_no_column(column, where, names))


def _column_values(rows: IterableDataset, column: str, where: str) -> Iterator[str]:
    """The texts of one column, as strings; nulls are left out.

    Raises:
        InputError: the column is missing or holds lists or objects.
    """
    names = rows.column_names or list(next(iter(rows), {column: None}))
    if column not in names:
        raise InputError(_no_column(column, where, names))
    for number, row in enumerate(rows.select_columns(column), start=1):
        value = row[column]
        _check_value(value, column, f"{where}, row {number}", names)
        if value is not None:
            yield str(value)


def _no_column(column: str, where: str, names: list[str]) -> str:
    return f"{where}: no column '{column}': set data.sources.N.column to one of {', '.join(names)}"


def _check_value(value: Any, column: str, where: str, names: list[str]) -> None:
    if isinstance(value, (list, dict)):
        raise InputError(
            f"{where}: column '{column}' holds a {type(value).__name__}, not text: choose another "
            f"of {', '.join(names)}"
        )


def _load(path: Path, source: SourceConfig) -> IterableDataset:
    import datasets

    # The library would log each failure before it raises; we tell it once.
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets.load_dataset(
        "json" if source.kind == "jsonl" else source.kind,
        data_files=escape(str(path)),
        split="train",
        streaming=True,
        **_options(path, source.kind),
    )


def _options(path: Path, kind: str) -> dict[str, Any]:
    if kind != "csv":
        return {}
    # In the field's .tsv files (GLUE, NSMC) a quote is a character like any other.
    tabs = {"sep": "\t", "quoting": csv.QUOTE_NONE} if ".tsv" in path.suffixes else {}
    return {"keep_default_na": False, **tabs}


def _check_frames(path: Path) -> None:
    """Raise `EOFError` for a .zst file that is cut off: its reader would stop there in silence."""
    from zstandard import ZstdDecompressor

    frame = ZstdDecompressor().decompressobj()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            while piece:
                frame = ZstdDecompressor().decompressobj() if frame.eof else frame
                frame.decompress(piece)
                piece = frame.unused_data
    if not frame.eof:
        raise EOFError("the last frame has no end")


def _explain(path: Path, kind: str, error: Exception) -> InputError:
    """Why the library could not read a file: scan it for the line to blame."""
    if isinstance(error, EOFError):
        return InputError(f"{path}: cut off ({_first_line(error)}): fetch it anew")
    try:
        for number, line in enumerate(() if kind == "parquet" else open_bytes(path), start=1):
            if problem := _problem(line, kind):
                return InputError(f"{path}, line {number}: {problem}")
    except Exception as damage:
        return InputError(f"{path}: damaged or cut off ({_first_line(damage)}): fetch it anew")
    return InputError(f"{path}: cannot be read as {kind}: {_first_line(error)}")


def _problem(line: bytes, kind: str) -> str | None:
    try:
        text = line.decode("utf-8-sig")
        if kind == "jsonl" and text.strip():
            json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8: convert the file, e.g. with iconv -t UTF-8"
    except json.JSONDecodeError as error:
        return f"broken JSON ({error.msg}, column {error.colno}): repair or remove the line"
    except UnicodeEncodeError:
        return (
            "half of a surrogate pair (an escape such as \\ud83d alone): repair or remove the line"
        )
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
