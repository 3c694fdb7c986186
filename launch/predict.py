"""Label new text: `python launch/predict.py --model runs/tweets --input texts.csv`."""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if __name__ == "__main__" and not __package__:
    import as_script

    as_script.begin()

from launch.command import run

if TYPE_CHECKING:
    from finetune.model.model_folder import Finetuned
    from finetune.model.prediction import NewText
    from pretrain.text.encoding import Encoding

logger = logging.getLogger("launch.predict")

Change = Callable[[object], object]
"""of a cell before it is written"""
LINE_FILES = ("", ".txt")
PURPOSE = """Label new text. Every row or line of the input gives one of the output, in order. Its
id is the file's (a column id, guid, UserName, idx or index), else the number of the row or line; a
blank text has an empty prediction and is counted. Notes on what was read go to standard error. A
file or pipe gets texts exactly as they were read; a terminal is shown its control characters."""


def main() -> None:
    """Load the model once, then answer block by block, to standard output or into a file."""
    arguments = parse()

    from configs.system.safe_text import Spreadsheet
    from finetune.model.model_folder import load_finetuned
    from finetune.model.prediction import choose_device, first_and_rest, predict
    from pretrain.text.encoding import Encoding

    model = load_finetuned(arguments.model, choose_device(arguments.device))
    encoding = Encoding(
        arguments.encoding,
        arguments.most_bad_rows,
        model.card.task.repair_controls,
        fields=("--encoding ", "--most-bad-rows "),
    )
    rows = read(arguments, model, encoding)
    block = arguments.block or (1 if arguments.input == "-" else 32)
    names, lines = first_and_rest(predict(model, rows, block, encoding.notes))
    safe = Spreadsheet() if arguments.csv_safe else None
    if arguments.output is None:
        show(names, lines, safe)
    else:
        write_file(arguments.output, names, lines, safe)
    for line in filter(None, [*encoding.notes, safe and safe.note]):
        logger.warning(line)


def parse() -> argparse.Namespace:
    """The command line; `InputError` for a value that none of its options takes."""
    parser = argparse.ArgumentParser(prog="predict.py", description=PURPOSE)
    add = parser.add_argument
    add("--model", required=True, type=Path, metavar="RUN|FOLDER")
    add(
        "--input",
        required=True,
        metavar="FILE|-",
        help="a .csv, .tsv, .json or .jsonl; a .txt with one text a line; - for standard input",
    )
    add("--text-column", metavar="C", help="default: the task's own")
    add("--output", type=Path, metavar="FILE", help="a .csv; default: printed")
    text = "put ' in front of cells that a spreadsheet takes for formulas (= + - @), and count them"
    add("--csv-safe", action="store_true", help=text)
    add("--block", type=int, metavar="N", help="texts at a time; default: 32, or 1 from -")
    add("--encoding", metavar="NAME", help="of the input, e.g. cp1252; default: UTF-8")
    add(
        "--most-bad-rows",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="refuse input with more rows whose bytes are no characters; others are shown as "
        "U+FFFD and counted. A file is judged before the first answer; standard input from its "
        "hundredth line on and at its end, so answers may stand before the refusal, exit code 2. "
        "Default: 0.01",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if any")
    arguments = parser.parse_args()

    from configs.checks import require, require_encoding, require_fraction

    by_column = arguments.text_column and Path(arguments.input).suffix in (*LINE_FILES, "-")
    require(not by_column, "--text-column is for tables: lines of text have no columns")
    require(arguments.block is None or arguments.block >= 1, "--block must be at least 1")
    require_encoding("--encoding", arguments.encoding)
    require_fraction("--most-bad-rows", arguments.most_bad_rows)
    return arguments


def read(arguments: argparse.Namespace, model: Finetuned, encoding: Encoding) -> Iterator[NewText]:
    """The rows of the input; `InputError` for one that is not there."""
    from configs.errors import InputError
    from configs.system.notes import PROGRESS
    from finetune.data.tables import suffix_of
    from finetune.model.prediction import read_line_file, read_lines, read_rows

    path = Path(arguments.input)
    if arguments.input == "-":
        if sys.stdin.isatty():
            logger.log(PROGRESS, "one text a line, please; Ctrl-D ends")
        decoder = encoding.decoder("standard input", "line", encoding.repairs)
        return read_lines(sys.stdin.buffer, decoder)
    if not path.is_file():
        raise InputError(f"--input {path}: no such file: check the path, or give - to type")
    if suffix_of(path) in LINE_FILES:
        return read_line_file(path, encoding)
    return read_rows(path, model, arguments.text_column, encoding)


def show(names: list[str], lines: Iterable[dict], safe: Change | None) -> None:
    """To standard output: one visible line a row on a terminal, else CSV as in a file, in UTF-8
    whatever the locale says."""
    from configs.system.files import disk_explained
    from configs.system.safe_text import visible

    raw, change, line_end = getattr(sys.stdout, "stream", sys.stdout), safe, "\r\n"
    if sys.stdout.isatty():
        raw, change, line_end = sys.stdout, lambda c: visible(safe(c) if safe else c), "\n"
    elif hasattr(raw, "reconfigure"):
        raw.reconfigure(encoding="utf-8")
    with disk_explained("standard output"):
        write(raw, names, lines, change, line_end)


def write_file(path: Path, names: list[str], lines: Iterable[dict], safe: Change | None) -> None:
    """CSV that appears as a whole, or not at all."""
    from configs.system.files import written_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        write(file, names, lines, safe)


def write(
    file: TextIO,
    names: list[str],
    lines: Iterable[dict],
    change: Change | None = None,
    line_end: str = "\r\n",
) -> None:
    """CSV, each line as soon as it is known, every cell changed as asked."""
    writer = csv.writer(file, lineterminator=line_end)
    for line in chain([dict(zip(names, names))], lines):
        cells = [line[name] for name in names]
        writer.writerow(map(change, cells) if change else cells)
        file.flush()


if __name__ == "__main__":
    run(main)
