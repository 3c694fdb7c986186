"""Report on a task's data: `python launch/explore.py --config finetune/tweets.yaml`."""

from __future__ import annotations

from pathlib import Path

if __name__ == "__main__" and not __package__:
    import as_script

    as_script.begin()

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from launch.command import config_parser, read_config, run


def main() -> None:
    """Read the task, write the report and its plots, print a summary."""
    parser = config_parser(
        "explore.py", "Report on the data of a classification task, with plots.", FinetuneConfig
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="count tokens with this one: a tokenizer's folder, a run folder, or a published "
        "vocabulary; may be repeated; default: one of each kind, trained on the task's texts",
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: runs/data/<task>")
    arguments = parser.parse_intermixed_args()
    config = read_config(arguments, FinetuneConfig)
    if config.task.kind != "classification":
        raise InputError(f"task.kind={config.task.kind}: the data report is for classification")

    from configs.system.safe_text import visible
    from finetune.explore.data_report import overview, write_data_report
    from finetune.explore.fertility import open_tokenizers
    from finetune.explore.task_data import read_task

    tokenizers = open_tokenizers(arguments.tokenizer)
    data = read_task(config.task)
    output = arguments.output or Path("runs/data") / config.task.name
    output.mkdir(parents=True, exist_ok=True)
    print("\n".join(map(visible, overview(data))), flush=True)
    for line in write_data_report(data, tokenizers, config.max_length, output):
        print(visible(line))
    print(f"done: {visible(output)}/report.md")


if __name__ == "__main__":
    run(main)
