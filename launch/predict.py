"""Label new text: `python launch/predict.py --model runs/tweets --input texts.csv`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.checks import require, require_encoding, require_fraction
from launch.command import run

logger = logging.getLogger("launch.predict")

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
    from launch.answers import read_texts, show_answers, write_answers
    from pretrain.text.encoding import Encoding

    model = load_finetuned(arguments.model, choose_device(arguments.device))
    encoding = Encoding(
        arguments.encoding,
        arguments.most_bad_rows,
        model.card.task.repair_controls,
        fields=("--encoding ", "--most-bad-rows "),
    )
    texts = read_texts(arguments.input, model, arguments.text_column, encoding)
    block = arguments.block or (1 if arguments.input == "-" else 32)
    names, answers = first_and_rest(predict(model, texts, block, encoding.notes))
    safe = Spreadsheet() if arguments.csv_safe else None
    if arguments.output is None:
        show_answers(names, answers, safe)
    else:
        write_answers(arguments.output, names, answers, safe)
    for line in filter(None, [*encoding.notes, safe and safe.note]):
        logger.warning(line)


def parse() -> argparse.Namespace:
    """The command line; `InputError` for a value that none of its options takes."""
    parser = argparse.ArgumentParser(prog="predict.py", description=PURPOSE)
    add = parser.add_argument
    add("--model", required=True, type=Path, metavar="RUN|FOLDER")
    text = "a .csv, .tsv, .json or .jsonl; a .txt with one text a line; - for standard input"
    add("--input", required=True, metavar="FILE|-", help=text)
    add("--text-column", metavar="C", help="default: the task's own")
    add("--output", type=Path, metavar="FILE", help="a .csv; default: printed")
    text = "put ' in front of cells that a spreadsheet takes for formulas (= + - @), and count them"
    add("--csv-safe", action="store_true", help=text)
    add("--block", type=int, metavar="N", help="texts at a time; default: 32, or 1 from -")
    add("--encoding", metavar="NAME", help="of the input, e.g. cp1252; default: UTF-8")
    text = (
        "refuse input with more rows whose bytes are no characters; others are shown as U+FFFD and "
        "counted. A file is judged before the first answer; standard input from its hundredth line "
        "on and at its end, so answers may stand before the refusal, exit code 2. Default: 0.01"
    )
    add("--most-bad-rows", type=float, default=0.01, metavar="SHARE", help=text)
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if any")
    arguments = parser.parse_args()

    by_column = arguments.text_column and Path(arguments.input).suffix in ("", ".txt", "-")
    require(not by_column, "--text-column is for tables: lines of text have no columns")
    require(arguments.block is None or arguments.block >= 1, "--block must be at least 1")
    require_encoding("--encoding", arguments.encoding)
    require_fraction("--most-bad-rows", arguments.most_bad_rows)
    return arguments


if __name__ == "__main__":
    run(main)
