"""Label new text: `python launch/predict.py --model runs/tweets --input texts.csv`."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

if not __package__:  # a script's own folder would hide the package of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.command import run

LINE_FILES = ("", ".txt")
TEXT = {"encoding": "utf-8-sig", "errors": "replace"}
"""as tables are read"""


def main() -> None:
    """Load the model once, then answer block by block, to standard output or into a file."""
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__)
    parser.add_argument("--model", required=True, type=Path, metavar="RUN|FOLDER")
    parser.add_argument(
        "--input",
        required=True,
        metavar="FILE|-",
        help="a .csv, .tsv, .json or .jsonl; a .txt with one text a line; - for standard input",
    )
    parser.add_argument("--text-column", metavar="C", help="default: the task's own")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a .csv; default: printed")
    parser.add_argument(
        "--block", type=int, metavar="N", help="texts at a time; default: 32, or 1 from -"
    )
    arguments = parser.parse_args()

    from configs.errors import InputError
    from finetune.finetuned import load_finetuned
    from finetune.predict import first_and_rest, predict, read_lines, read_rows

    model = load_finetuned(arguments.model)
    if arguments.input == "-":
        sys.stdin.reconfigure(**TEXT)
        rows = read_lines(sys.stdin, "standard input")
    elif not (path := Path(arguments.input)).is_file():
        raise InputError(f"--input {path}: no such file: check the path, or give - to type")
    elif path.suffix in LINE_FILES:
        rows = read_lines(path.open(**TEXT), str(path))
    else:
        rows = read_rows(path, model, arguments.text_column)
    block = arguments.block or (1 if arguments.input == "-" else 32)
    names, lines = first_and_rest(predict(model, rows, block))
    if arguments.output is None:
        write(sys.stdout, names, lines)
        return
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    aside = arguments.output.with_name(f".{arguments.output.name}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            write(file, names, lines)
        aside.replace(arguments.output)
    finally:
        aside.unlink(missing_ok=True)


def write(file: TextIO, names: list[str], lines: Iterable[dict]) -> None:
    """CSV, each line as soon as it is known."""
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    for line in lines:
        writer.writerow(line)
        file.flush()


if __name__ == "__main__":
    run(main)
