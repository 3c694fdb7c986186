"""Malformed texts and tables."""

from __future__ import annotations

import gzip
import json
import lzma
import random
from pathlib import Path

from tests.finetuning import topic_rows, write_csv
from tests.fuzz.case import Case
from tests.fuzz.materials import Materials
from tests.fuzz.mutations import (
    insert_junk,
    junk,
)


def table(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """Labelled examples that cannot be read, or that no task fits."""
    rows = topic_rows(rows=40)
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    broken = rng.randrange(len(lines))
    whole = "\n".join(lines).encode()
    files = {
        "a missing column": ("train.csv", lambda: _csv(rows, ("text", "topic"))),
        "no row": ("train.csv", lambda: _csv([], ("text", "label"))),
        "nothing": ("train.csv", lambda: b""),
        "a row too long": ("train.csv", lambda: _csv([*rows, ("a", "file", "b")])),
        "a row too short": ("train.csv", lambda: _csv([*rows, ("a",)])),
        "an empty text": ("train.csv", lambda: _csv([*rows, (" ", "file")])),
        "an empty label": ("train.csv", lambda: _csv([*rows, ("a text", "")])),
        "one class": ("train.csv", lambda: _csv([(t, "file") for t, _ in rows])),
        "an open quote": ("train.csv", lambda: _csv(rows) + b'"open,file\n'),
        "binary": ("train.csv", lambda: junk(rng, b"")),
        "broken JSON": ("train.jsonl", lambda: _lines(lines, broken, lines[broken][:-3])),
        "a list in JSON": ("train.jsonl", lambda: _lines(lines, broken, "[1, 2]")),
        "a number in JSON": ("train.jsonl", lambda: _lines(lines, broken, "7")),
        "JSON without the column": ("train.jsonl", lambda: whole.replace(b'"label"', b'"topic"')),
        "JSON cut off": ("train.json", lambda: whole[:-5]),
        "gzip cut off": ("train.csv.gz", lambda: gzip.compress(_csv(rows))[:-20]),
        "xz cut off": ("train.csv.xz", lambda: lzma.compress(_csv(rows))[:-20]),
        "xz that is none": ("train.csv.xz", lambda: _csv(rows)),
        "gzip that is none": ("train.jsonl.gz", lambda: whole),
        "an unknown kind": ("train.dat", lambda: _csv(rows)),
        "a folder": ("train.csv", None),
    }
    what = rng.choice(sorted(files))
    name, content = files[what]
    path = folder / name
    path.mkdir() if content is None else path.write_bytes(content())
    overrides = [f"task.folder={folder}", f"task.train={name}", f"run_dir={folder / 'run'}"]
    return Case(what, ["finetune.py", "--config", str(materials.task), *overrides])


def _csv(rows: list[tuple], header: tuple[str, ...] = ("text", "label")) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return write_csv(Path(folder) / "rows.csv", rows, header).read_bytes()


def _lines(lines: list[str], number: int, instead: str) -> bytes:
    return "\n".join([*lines[:number], instead, *lines[number + 1 :]]).encode()


def text(rng: random.Random, folder: Path, materials: Materials) -> Case:
    """A corpus that cannot be read."""
    rows = [json.dumps({"text": f"Some words of document {n}."}) for n in range(200)]
    whole, bad = "\n".join(rows).encode(), rng.randrange(200)
    files = {
        "broken JSON": ("a.jsonl", _lines(rows, bad, rows[bad][:-2])),
        "no objects": ("a.jsonl", _lines(rows, bad, "[1]")),
        "lists as texts": ("a.jsonl", _lines(rows, bad, '{"text": ["a"]}')),
        "no column": ("a.jsonl", whole.replace(b'"text"', b'"body"')),
        "half a surrogate pair": ("a.jsonl", _lines(rows, bad, '{"text": "\\ud83d"}')),
        "not UTF-8": ("a.jsonl", insert_junk(rng, whole)),
        "deep JSON": ("a.jsonl", _lines(rows, bad, "[" * 100_000)),
        "nothing": ("a.jsonl", b""),
        "blank lines": ("a.jsonl", b"\n \n" * 50),
        "gzip cut off": ("a.jsonl.gz", gzip.compress(whole)[:-9]),
        "xz cut off": ("a.jsonl.xz", lzma.compress(whole)[:-9]),
        "zst that is none": ("a.jsonl.zst", whole),
        "parquet that is none": ("a.parquet", whole),
        "csv without the column": ("a.csv", b"body,id\na,1\nb,2\n"),
        "csv with a row too long": ("a.csv", b"text,id\na,1\nb,2,3\n"),
        "one document": ("a.jsonl", rows[0].encode()),
    }
    what = rng.choice(sorted(files))
    name, content = files[what]
    (folder / name).write_bytes(content)
    kind = {"csv": "csv", "parquet": "parquet"}.get(name.rsplit(".", 1)[-1], "jsonl")
    overrides = [
        f"data.sources.0={{kind: {kind}, path: {folder / name}}}",
        f"tokenizer.path={materials.run / 'tokenizer'}",
        f"data.cache={folder / 'cache'}",
    ]
    return Case(what, ["prepare.py", "--config", str(materials.config), *overrides])
