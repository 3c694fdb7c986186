"""Measure this machine or cluster: `python launch/benchmark.py all`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.checks import require
from configs.errors import InputError
from launch.command import require_at_least_1, run, write_json

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PARTS = {
    "step": "training steps, in turns with Hugging Face's",
    "data": "text to tokens and tokens to batches",
    "startup": "the time from the command to the first step",
    "neighbour": "what a busy process on the same machine costs a run",
    "all": "all of these",
}
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
SIZES = ("small", "base", "large")
BYTES = ("4", "1K", "10K", "100K", "1M", "4M", "16M", "64M")


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(prog="benchmark.py", description=__doc__)
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    add_benchmarks(benchmarks)
    add_allreduce(benchmarks)
    # DeepSpeed's launcher adds this; LOCAL_RANK says the same.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.run(arguments)


def add_benchmarks(benchmarks: Subparsers) -> None:
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
        text = "default: small base; on a GPU base large"
        add("--size", dest="sizes", nargs="+", choices=SIZES, default=(), help=text)
        text = "tokens; default: 128 512"
        add("--length", dest="lengths", nargs="+", type=int, default=[128, 512], help=text)
        text = "default: bf16 where this machine multiplies faster in it, else fp32"
        add("--precision", choices=("fp32", "bf16"), help=text)
        add("--dropout", type=float, default=0.1, help="of all contenders; default: 0.1")
        text = "race BERT's two objectives instead of MLM alone"
        add("--nsp", dest="next_sentence", action="store_true", help=text)
        add("--rounds", type=int, default=3, help="turns of each contender; default: 3")
        add("--seconds", type=float, default=6.0, help="of a turn, two steps at least; default: 6")
        add("--traces", type=Path, metavar="FOLDER", help="write a profile of each contender there")
        text = "of the rivals, those whose name holds this"
        add("--only", nargs="+", default=(), metavar="NAME", help=text)


def measure(arguments: argparse.Namespace) -> None:
    """Everything that was asked for, each table as soon as it is there, and the summary."""
    show_one_gpu()
    parts = arguments.parts
    if "step" in parts:
        require_at_least_1(arguments, "rounds")
    from launch.benchmarks.benchmark_results import BenchmarkResults, ContestOptions, summary

    result = BenchmarkResults(arguments.overrides)
    for part in parts:
        if part == "step":
            given = {field.name: getattr(arguments, field.name) for field in fields(ContestOptions)}
            result.hold_contests(ContestOptions(**given))
        elif part != "neighbour" or parts == ["neighbour"] or result.device == "cpu":
            result.measure(part)
    print(summary(result.all_goals()), flush=True)
    write_json(arguments.json, result.as_json())


def show_one_gpu() -> None:
    """Hide all GPUs but the first of CUDA_VISIBLE_DEVICES: a Trainer spreads its batch over all
    that it sees, and the others are ranks of one GPU."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = shown.partition(",")[0]


def add_allreduce(benchmarks: Subparsers) -> None:
    """The arguments of `benchmark.py allreduce`."""
    parser = benchmarks.add_parser(
        "allreduce",
        help="time of a gradient all-reduce over message sizes, against the ring's cost model",
        description="Time all-reduces of several sizes and fit the ring's cost model to them: "
        "2 (N-1) latency + 2 (N-1)/N x bytes / bandwidth. Runs on ranks of this machine (--ranks), "
        "or on those that a launcher has started: deepspeed, torchrun, srun.",
    )
    parser.set_defaults(run=allreduce)
    add = parser.add_argument
    add("--ranks", type=int, metavar="N", help="ranks on this machine; default: 2")
    text = f"message sizes; default: {' '.join(BYTES)}"
    add("--sizes", nargs="+", default=BYTES, metavar="BYTES", help=text)
    add("--seconds", type=float, default=0.5, help="time for each size; 0.5")
    text, kinds = "asked of NCCL; default: ring", ("ring", "tree", "auto")
    add("--algorithm", choices=kinds, default="ring", help=text)
    add("--json", type=Path, metavar="FILE", help="write the results for doctor.py --allreduce")


def allreduce(arguments: argparse.Namespace) -> None:
    """Measure, print and write; starts ranks of its own where no launcher has."""
    from pretrain.ranks import world as worlds
    from pretrain.ranks.collectives import Benchmark
    from pretrain.ranks.local import is_rank, run_as_ranks

    sizes, ranks = parse_sizes(arguments.sizes), arguments.ranks
    if not is_rank():
        require_ranks(ranks or 2)
        sys.exit(run_as_ranks(ranks or 2))
    world = worlds.start(arguments.algorithm)
    require(ranks in (None, world.size), f"--ranks {ranks}, but the launcher started {world.size}")
    require_ranks(world.size)
    result = Benchmark.run(world, sizes, arguments.seconds)
    worlds.stop()
    if world.is_main:
        print(result.table(), flush=True)
        write_json(arguments.json, result.as_json())


def parse_sizes(texts: Iterable[str]) -> list[int]:
    """Bytes of `64M`, `1K`, `4`, each once, small ones first; K, M, G are powers of 1000."""
    return sorted({_parse_size(text) for text in texts})


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMG]?)B?", text.upper())
    if not match or int(match[1]) == 0:
        raise InputError(f"--sizes {text} is no size: write bytes as 4, 100K, 64M or 1G")
    return int(match[1]) * UNITS[match[2]]


def require_ranks(ranks: int) -> None:
    """Raise `InputError` where there is nobody to talk to."""
    require(ranks >= 2, f"--ranks {ranks}: nobody to talk to: give 2 or more")


if __name__ == "__main__":
    run(main)
