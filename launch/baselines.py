"""Score the classical methods: `python launch/baselines.py --config finetune/tweets.yaml`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

if not __package__:  # a script's own folder would hide the package of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from launch.command import config_parser, read_config, run


def main() -> None:
    """Read the task once, run every rival on it, print the table."""
    parser = config_parser(
        "baselines.py", "Score the classical methods on a task's own dev split.", FinetuneConfig
    )
    parser.add_argument("--rivals", default="all", metavar="NAME,NAME", help="default: all")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: runs/baselines/<task>"
    )
    arguments = parser.parse_intermixed_args()
    config = read_config(arguments, FinetuneConfig)
    if config.task.kind != "classification":
        raise InputError(f"task.kind={config.task.kind}: the classical methods classify texts")

    from finetune.baselines.rivals import find_rivals, run_rival
    from finetune.data.texts import read_text_splits
    from finetune.report.scores import summary
    from finetune.report.table import comparison
    from pretrain.engine.log import duration

    names = find_rivals(arguments.rivals)
    # Rivals learn the labels that they are scored by: the merged ones, where some are merged.
    splits = read_text_splits(replace(config.task, unmerged=None))
    output = arguments.output or Path("runs/baselines") / config.task.name
    print(f"{len(splits.train):,} training and {len(splits.dev):,} dev examples -> {output}")
    for note in splits.notes:
        print(f"note  {note}")
    started = time.monotonic()
    for number, name in enumerate(names, start=1):
        scores = run_rival(name, config, splits, output)
        passed = time.monotonic() - started
        print(
            f"{number:>2}/{len(names)}  {name:<24} accuracy {summary(scores.values('accuracy'))}  "
            f"macro-F1 {summary(scores.values('macro_f1'))}  {duration(passed)} passed",
            flush=True,
        )
    text = comparison([output / name for name in names])
    (output / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\ndone: {output}/table.md")


if __name__ == "__main__":
    run(main)
