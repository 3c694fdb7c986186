"""Turn a run's model into a Hugging Face folder or ONNX graphs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.system.run_lock import exclusive
from launch.command import run


def main() -> None:
    """A pretraining run: its newest whole checkpoint; a fine-tuning run: its best model."""
    parser = argparse.ArgumentParser(prog="export.py", description=__doc__)
    parser.add_argument("--model", required=True, type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--format", choices=["huggingface", "onnx"], default="huggingface")
    arguments = parser.parse_args()

    from configs.system.safe_text import visible
    from finetune.model.model_folder import find_finetuned, load_finetuned
    from finetune.model.task_export import export_huggingface, export_onnx
    from pretrain.run.export_run import check_output, export_run, export_run_onnx

    is_onnx = arguments.format == "onnx"
    with exclusive(arguments.output):
        check_output(arguments.output)
        source = find_finetuned(arguments.model)
        if source:
            export_task = export_onnx if is_onnx else export_huggingface
            export_task(load_finetuned(source), arguments.output)
        elif is_onnx:
            source = export_run_onnx(arguments.model, arguments.output)
        else:
            source = export_run(arguments.model, arguments.output, strict=True)
    print(visible(f"{source} -> {arguments.output}"))


if __name__ == "__main__":
    run(main)
