"""Measure this machine or cluster: `python launch/benchmark.py all`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from launch.command import require_at_least_1, run, write_json

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
    from launch.benchmarks.benchmark_results import ContestOptions

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
    parts = arguments.parts
    if "step" in parts:
        require_at_least_1(arguments, "rounds")
    from launch.benchmarks.benchmark_results import BenchmarkResults

    result = BenchmarkResults(tuple(arguments.overrides))
    if "step" in parts:
        result.hold_contests(contest_options(arguments))
    if "data" in parts:
        result.measure_data()
    if "startup" in parts:
        result.measure_startup()
    if parts == ["neighbour"] or ("neighbour" in parts and result.device == "cpu"):
        result.measure_neighbour()
    print(result.summary(), flush=True)
    write_json(arguments.json, result.as_json())


def contest_options(arguments: argparse.Namespace) -> ContestOptions:
    """What the command line says of training steps."""
    from launch.benchmarks.benchmark_results import ContestOptions

    return ContestOptions(
        sizes=arguments.size or (),
        lengths=arguments.length,
        precision=arguments.precision,
        dropout=arguments.dropout,
        next_sentence=arguments.nsp,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        traces=arguments.traces,
        only=arguments.only or (),
    )


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


def allreduce(arguments: argparse.Namespace) -> None:
    """Measure, print and write; starts ranks of its own where no launcher has."""
    from launch.benchmarks.allreduce import measure, parse_sizes, require_ranks
    from pretrain.ranks.local import is_rank, run_as_ranks

    sizes, ranks = parse_sizes(arguments.sizes), arguments.ranks
    if not is_rank():
        require_ranks(ranks or 2)
        sys.exit(run_as_ranks(ranks or 2))
    result = measure(sizes, arguments.seconds, arguments.algorithm, ranks)
    if result:
        print(result.table(), flush=True)
        write_json(arguments.json, result.as_json())


if __name__ == "__main__":
    run(main)
