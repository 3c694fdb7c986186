"""Measure this machine or cluster: `python launch/benchmark.py all`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    import as_script

    as_script.begin()

from configs.checks import require
from configs.errors import InputError
from configs.system.files import write_text
from launch.command import run

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
PARTS = {
    "step": "training steps, side by side with Hugging Face's",
    "data": "text to tokens and tokens to batches",
    "startup": "the time from the command to the first step",
    "neighbour": "what a busy process on the same machine costs a run",
    "all": "all of these",
}
SIZES = ("small", "base", "large")
BYTES = ("4", "1K", "10K", "100K", "1M", "4M", "16M", "64M")


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(prog="benchmark.py", description=__doc__)
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    add_races(benchmarks)
    add_allreduce(benchmarks)
    # DeepSpeed's launcher adds this; LOCAL_RANK says the same.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.run(arguments)


def add_races(benchmarks: argparse._SubParsersAction) -> None:
    """The arguments of all benchmarks but `allreduce`."""
    for name, text in PARTS.items():
        parser = benchmarks.add_parser(name, help=text, description=f"Measures {text}.")
        add = parser.add_argument
        parser.set_defaults(run=measure, parts=[name] if name != "all" else list(PARTS)[:-1])
        add("--json", type=Path, metavar="FILE", help="write everything that was measured")
        help_ = "fields of the configuration that is trained, e.g. data.cache=FOLDER"
        add("overrides", nargs="*", metavar="key=value", help=help_)
        if name not in ("step", "all"):
            continue
        add("--size", nargs="+", choices=SIZES, help="default: small base; on a GPU base large")
        add("--length", nargs="+", type=int, default=[128, 512], help="tokens; default: 128 512")
        text = "default: bf16 where this machine multiplies faster in it, else fp32"
        add("--precision", choices=("fp32", "bf16"), help=text)
        add("--dropout", type=float, default=0.1, help="of all contenders; default: 0.1")
        add("--nsp", action="store_true", help="race BERT's two objectives instead of MLM alone")
        add("--rounds", type=int, default=3, help="turns of each contender; default: 3")
        add("--seconds", type=float, default=6.0, help="of a turn, two steps at least; default: 6")
        add("--traces", type=Path, metavar="FOLDER", help="write a profile of each contender there")
        add("--only", nargs="+", metavar="NAME", help="of the rivals, those whose name holds this")


def measure(arguments: argparse.Namespace) -> None:
    """Everything that was asked for, each table as soon as it is there, and the summary."""
    if "step" in arguments.parts:
        require(arguments.rounds >= 1, f"--rounds {arguments.rounds} must be at least 1")
    from launch.benchmarks import run

    result = run.Results()
    for part in arguments.parts:
        getattr(result, f"add_{part}")(arguments)
    print(result.summary(), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_text(arguments.json, json.dumps(result.as_json(), indent=1) + "\n")


def add_allreduce(benchmarks: argparse._SubParsersAction) -> None:
    """The arguments of `benchmark.py allreduce`."""
    parser = benchmarks.add_parser(
        "allreduce",
        help="time of a gradient all-reduce over message sizes, against the ring's cost model",
        description="Time all-reduces of several sizes and fit the ring's cost model to them: "
        "2 (N-1) latency + 2 (N-1)/N x bytes / bandwidth. Runs on ranks of this machine (--ranks), "
        "or on those that a launcher has started: deepspeed, torchrun, srun.",
    )
    parser.set_defaults(run=allreduce)
    parser.add_argument("--ranks", type=int, metavar="N", help="ranks on this machine; default: 2")
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=BYTES,
        metavar="BYTES",
        help=f"message sizes; default: {' '.join(BYTES)}",
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each size; 0.5")
    parser.add_argument(
        "--algorithm",
        choices=("ring", "tree", "auto"),
        default="ring",
        help="asked of NCCL; default: ring",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results for doctor.py --allreduce"
    )


def parse_size(text: str) -> int:
    """Bytes of `64M`, `1K`, `4`; K, M, G are powers of 1000."""
    found = re.fullmatch(r"(\d+)([KMG]?)B?", text.upper())
    if not found or int(found[1]) == 0:
        raise InputError(f"--sizes {text} is no size: write bytes as 4, 100K, 64M or 1G")
    return int(found[1]) * UNITS[found[2]]


def allreduce(arguments: argparse.Namespace) -> None:
    """Measure, print and write; starts ranks of its own where no launcher has."""
    sizes = sorted({parse_size(text) for text in arguments.sizes})

    from pretrain.ranks.local import is_rank, run_as_ranks

    if not is_rank():
        check_ranks(arguments.ranks or 2)
        sys.exit(run_as_ranks(arguments.ranks or 2))

    from pretrain.ranks import world as worlds
    from pretrain.ranks.collectives import Benchmark

    world = worlds.start(arguments.algorithm)
    if arguments.ranks not in (None, world.size):
        raise InputError(f"--ranks {arguments.ranks}, but the launcher started {world.size}")
    check_ranks(world.size)
    result = Benchmark.run(world, sizes, arguments.seconds)
    if world.is_main:
        print(result.table(), flush=True)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            write_text(arguments.json, json.dumps(result.as_json(), indent=1) + "\n")
    worlds.stop()


def check_ranks(ranks: int) -> None:
    """Raise `InputError` where there is nobody to talk to."""
    if ranks < 2:
        raise InputError(f"--ranks {ranks}: nobody to talk to: give 2 or more")


if __name__ == "__main__":
    run(main)
