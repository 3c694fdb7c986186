"""Turn a run's last checkpoint into a Hugging Face folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if not __package__:  # a script's own folder would hide the package of the same name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.command import run


def main() -> None:
    """Rebuild the model of the run, load its newest whole checkpoint, write the folder."""
    parser = argparse.ArgumentParser(prog="export.py", description=__doc__)
    parser.add_argument("--model", required=True, type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--format", choices=["huggingface"], default="huggingface")
    arguments = parser.parse_args()

    from pretrain.engine.export import check_output, export_run

    check_output(arguments.output)

    path = export_run(arguments.model, arguments.output)
    print(f"{path} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
