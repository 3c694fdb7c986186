"""Will it run: `python launch/doctor.py --config roberta_base.yaml --gpus 64 --gpu h100`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    import as_script

    as_script.begin()

from configs.errors import InputError
from configs.schema import PretrainConfig
from configs.system.files import write_text
from launch.command import config_parser, read_config, run

PURPOSE = (
    "Tell what a pretraining run needs (memory, time, cost, disk), check this machine, and try the "
    "configuration as one of N ranks without any GPU. Exit code 2 where it cannot work."
)


def main() -> None:
    """Read the configuration, examine it, print the report."""
    parser = config_parser("doctor.py", PURPOSE, PretrainConfig)
    add_target(parser)
    arguments = parser.parse_intermixed_args()
    config = read_config(arguments, PretrainConfig)
    check_numbers(arguments)

    from launch.diagnosis.examine import examine, target_gpus, target_here
    from launch.diagnosis.report import as_json, as_text
    from pretrain.ranks.collectives import read_ring

    ring = read_ring(arguments.allreduce) if arguments.allreduce else None
    if arguments.gpu:
        target = target_gpus(
            config, arguments.gpu, arguments.gpus or 1, arguments.gpus_per_node, ring, arguments.mfu
        )
    else:
        target = target_here(config, ring, arguments.mfu)
    found = examine(config, target, arguments.prepare)
    print(as_text(found, arguments.cost_per_gpu_hour), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        content = as_json(found, arguments.cost_per_gpu_hour)
        write_text(arguments.json, json.dumps(content, indent=1) + "\n")
    sys.exit(0 if found.works else 2)


def add_target(parser: argparse.ArgumentParser) -> None:
    """The arguments beside the configuration."""
    parser.add_argument("--gpus", type=int, metavar="N", help="ranks, one a GPU; default: 1")
    parser.add_argument(
        "--gpu", metavar="KIND", help="a100, h100, ...; without it this machine is described"
    )
    parser.add_argument("--gpus-per-node", type=int, default=8, metavar="N", help="default: 8")
    parser.add_argument(
        "--mfu",
        type=float,
        metavar="SHARE",
        help="share of the peak that training reaches; default: 0.2 of a GPU's data sheet, 0.6 of "
        "the measured peak on a CPU",
    )
    parser.add_argument("--cost-per-gpu-hour", type=float, metavar="PRICE", help="in any currency")
    parser.add_argument(
        "--allreduce",
        type=Path,
        metavar="FILE",
        help="measured latency and bandwidth: what benchmark.py allreduce --json wrote",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON")
    parser.add_argument(
        "--prepare", action="store_true", help="make the corpus if it is not there yet"
    )


def check_numbers(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for numbers that cannot be."""
    if arguments.gpus and not arguments.gpu:
        raise InputError(f"--gpus {arguments.gpus}: of which kind? Add e.g. --gpu h100")
    for name in ("gpus", "gpus_per_node"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value} must be at least 1")
    if arguments.mfu is not None and not 0 < arguments.mfu <= 1:
        raise InputError(f"--mfu {arguments.mfu} must lie above 0 and not exceed 1")
    price = arguments.cost_per_gpu_hour
    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"--cost-per-gpu-hour {price} must not be negative")


if __name__ == "__main__":
    run(main)
