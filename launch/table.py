"""All methods in one table: `python launch/table.py --runs runs/tweets runs/tweets_adapted`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from launch.command import run


def main() -> None:
    """Collect every scores.json below the given folders; refuses to mix dev splits."""
    parser = argparse.ArgumentParser(prog="table.py", description=__doc__)
    parser.add_argument("--runs", required=True, nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a .md; default: printed only")
    arguments = parser.parse_args()

    from configs.system.files import write_text
    from configs.system.secrets import hide
    from finetune.report.method_table import comparison

    text = comparison(arguments.runs)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.output, hide(text))


if __name__ == "__main__":
    run(main)
