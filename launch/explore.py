"""Report on a task's data: `python launch/explore.py --config finetune/tweets.yaml`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.finetune_schema import FinetuneConfig
from launch.command import config_parser, read_config, run


def main() -> None:
    """Read the task, write the report and its plots, print a summary."""
    purpose = "Report on the data of a classification task, with plots."
    parser = config_parser("explore.py", purpose, FinetuneConfig)
    text = (
        "count tokens with this one: a tokenizer's folder, a run folder, or a published "
        "vocabulary; may be repeated; default: one of each kind, trained on the task's texts"
    )
    parser.add_argument(
        "--tokenizer", type=Path, action="append", default=[], metavar="PATH", help=text
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/data/<task>")
    arguments = parser.parse_intermixed_args()
    config = read_config(arguments, FinetuneConfig)
    output = arguments.output or Path("runs/data") / config.task.name

    from finetune.explore.data_report import explore

    explore(config, arguments.tokenizer, output)


if __name__ == "__main__":
    run(main)
