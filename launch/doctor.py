"""Will it run: `python launch/doctor.py --config roberta_base.yaml --gpus 64 --gpu h100`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.checks import require
from configs.schema import PretrainConfig
from launch.command import config_parser, read_config, require_at_least_1, run, write_json

PURPOSE = (
    "Tell what a pretraining run needs (memory, time, cost, disk), check this machine, and try the "
    "configuration as one of N ranks without any GPU. Exit code 2 where it cannot work."
)


def main() -> None:
    """Read the configuration, examine it, print the report."""
    arguments = parse()
    config = read_config(arguments, PretrainConfig)
    check_numbers(arguments)

    from launch.diagnosis.doctor_report import as_json, as_text
    from launch.diagnosis.examine import examine, hardware_here, hardware_with_gpus
    from pretrain.ranks.collectives import read_ring

    ring = read_ring(arguments.allreduce) if arguments.allreduce else None
    kind, mfu = arguments.gpu, arguments.mfu
    if kind:
        gpus = (arguments.gpus or 1, arguments.gpus_per_node)
        hardware = hardware_with_gpus(config, kind, *gpus, ring, mfu)
    else:
        hardware = hardware_here(config, ring, mfu)
    diagnosis = examine(config, hardware, arguments.prepare)
    print(as_text(diagnosis, arguments.cost_per_gpu_hour), flush=True)
    write_json(arguments.json, as_json(diagnosis, arguments.cost_per_gpu_hour))
    sys.exit(0 if diagnosis.works else 2)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = config_parser("doctor.py", PURPOSE, PretrainConfig)
    add = parser.add_argument
    add("--gpus", type=int, metavar="N", help="ranks, one a GPU; default: 1")
    add("--gpu", metavar="KIND", help="a100, h100, ...; without it this machine is described")
    add("--gpus-per-node", type=int, default=8, metavar="N", help="default: 8")
    text = "share of the peak that training reaches; default: 0.2 of a GPU's data sheet, 0.6 of "
    add("--mfu", type=float, metavar="SHARE", help=f"{text}the measured peak on a CPU")
    add("--cost-per-gpu-hour", type=float, metavar="PRICE", help="in any currency")
    text = "measured latency and bandwidth: what benchmark.py allreduce --json wrote"
    add("--allreduce", type=Path, metavar="FILE", help=text)
    add("--json", type=Path, metavar="FILE", help="write the findings as JSON")
    add("--prepare", action="store_true", help="make the corpus if it is not there yet")
    return parser.parse_intermixed_args()


def check_numbers(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for numbers that cannot be."""
    gpus, mfu, price = arguments.gpus, arguments.mfu, arguments.cost_per_gpu_hour
    require(not gpus or arguments.gpu, f"--gpus {gpus}: of which kind? Add e.g. --gpu h100")
    require_at_least_1(arguments, "gpus", "gpus_per_node")
    require(mfu is None or 0 < mfu <= 1, f"--mfu {mfu} must lie above 0 and not exceed 1")
    require(
        price is None or 0 <= price < float("inf"),
        f"--cost-per-gpu-hour {price} must not be negative",
    )


if __name__ == "__main__":
    run(main)
