"""Several ranks against one: the same weights, and how fast gradients travel."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from configs.system.version import ROOT
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import Finding, judged, skipped, told
from launch.selfchecks.material import write_store
from launch.selfchecks.runs import command, trouble
from pretrain.ranks.local import free_port
from pretrain.ranks.world import World

STEPS = 8
NEAR = 1e-4
"""relative difference of losses and of the norm of all weights"""
STAGES = (0, 2)
SPEED, SECONDS = "tokens_per_second", 4.0
"""name of what is timed for about so long"""
SIZES = {"nccl": ("1M", "64M", "1G"), "gloo": ("100K", "4M")}
RUNNER = "from launch.selfchecks.ranks import train; train()"


def check(bench: Bench) -> Iterator[Finding]:
    """As many ranks as there are GPUs, or two on the CPU."""
    ranks = torch.cuda.device_count() if bench.on_cuda else 2
    if ranks < 2:
        yield skipped("several ranks", "there is one GPU")
        return
    write_store(bench.folder / "store")
    single = on_ranks(bench, 1)
    if isinstance(single, str):
        yield judged("one rank", False, single)
        return
    several = on_ranks(bench, ranks)
    yield compare(f"{ranks} ranks", single[0], several)
    if not isinstance(several, str):
        yield scaling(ranks, single[0][SPEED], several[0][SPEED])
    yield from travels(bench, ranks)


def compare(name: str, single: dict[str, Any], several: list[dict[str, Any]] | str) -> Finding:
    """Losses and weights of one rank and of several, which must not differ from each other."""
    if isinstance(several, str):
        return judged(name, False, several)
    apart = 0.0
    for stage in map(str, STAGES):
        alone, first = single[stage], several[0][stage]
        pairs = [*zip(alone["losses"], first["losses"]), (alone["norm"], first["norm"])]
        apart = max(apart, *(abs(a / b - 1) for a, b in pairs))
    alike = all(
        rank[stage]["weights"] == several[0][stage]["weights"]
        for rank in several
        for stage in map(str, STAGES)
    )
    text = f"losses and weights {apart:.1e} from one rank's (at most {NEAR:g}), ZeRO "
    text += f"{' and '.join(map(str, STAGES))}; bits of all ranks {'equal' if alike else 'DIFFER'}"
    return judged(name, alike and apart <= NEAR, text, apart=apart, alike=alike)


def scaling(ranks: int, alone: float, together: float) -> Finding:
    """Tokens a second of one rank and of several, each with micro-batches of the same size."""
    share = together / alone / ranks
    text = f"{together:,.0f} tokens/s, {share:.0%} of {ranks} times the {alone:,.0f} of one"
    return told("scaling", text, alone=alone, together=together, share=share)


def travels(bench: Bench, ranks: int) -> Iterator[Finding]:
    """Bus bandwidth by algorithm."""
    backend = "nccl" if bench.on_cuda else "gloo"
    for algorithm in ("ring", "tree", "auto") if bench.on_cuda else ("ring",):
        path = bench.folder / f"{algorithm}.json"
        words = ["--sizes", *SIZES[backend], "--seconds", "0.5", "--algorithm", algorithm]
        done = subprocess.run(
            command("benchmark.py", "allreduce", "--ranks", ranks, *words, "--json", path),
            cwd=bench.folder,
            capture_output=True,
            text=True,
            timeout=max(1.0, bench.left),
        )
        name = f"all-reduce, {algorithm}"
        if done.returncode:
            yield judged(name, False, f"not measured{trouble(done)}")
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        largest, seconds = found["sizes"][-1], found["seconds"][-1]
        bus = 2 * (ranks - 1) / ranks * largest / seconds
        text = f"{bus / 1e9:.2f} GB/s with {largest / 1e6:g} MB, {found['algorithm']}"
        yield told(name, text, bus_bandwidth=bus, ring=found["ring"])


def on_ranks(bench: Bench, number: int) -> list[dict[str, Any]] | str:
    """What each rank found, or in words why there is nothing."""
    port, processes = str(free_port()), []
    paths = [bench.folder / f"{number}-{rank}.json" for rank in range(number)]
    for rank, path in enumerate(paths):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number}
        more = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-c", RUNNER, str(bench.folder / "store"), str(path)]
        environment = {**os.environ, **more, **{name: str(value) for name, value in own.items()}}
        processes.append(subprocess.Popen(words, env=environment, cwd=bench.folder))
    try:
        codes = [process.wait(max(1.0, bench.left)) for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(codes):
        return f"exit codes {codes}: see output.txt"
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def train() -> None:
    """In a rank: some steps under each ZeRO stage; losses, weights and speed go to a file."""
    from launch.selfchecks.learning import configuration, trained_engine
    from pretrain.ranks import world as worlds

    store, path = Path(sys.argv[1]), Path(sys.argv[2])
    found: dict[str, Any] = {}
    world = worlds.start("auto")
    for stage in STAGES:
        each = 16 // world.size if world.size in (2, 4, 8) else 1
        overrides = (f"engine.zero_stage={stage}", f"batch.micro_sequences={each}")
        losses, engine = trained_engine(world, store, configuration(*overrides), STEPS)
        weights = [p.detach().float().cpu() for p in engine.model.parameters()]
        norm = float(sum(w.double().square().sum() for w in weights) ** 0.5)
        digest = hashlib.sha256(b"".join(w.numpy().tobytes() for w in weights)).hexdigest()
        found[str(stage)] = {"losses": losses, "norm": norm, "weights": digest}
        del engine
    found[SPEED] = tokens_per_second(world, path.parent)
    path.write_text(json.dumps(found), encoding="utf-8")
    worlds.stop()
    sys.stdout.flush()
    os._exit(0)  # threads of the process group may abort an interpreter that ends


def tokens_per_second(world: World, folder: Path) -> float:
    """Of all ranks together, in whole steps of one micro-batch on each."""
    from launch.selfchecks import steps

    bench = Bench(folder, SECONDS)
    bench.world, bench.device = world, world.device
    taken = steps.Steps(steps.Setting(bench, "auto", *steps.SIZES[world.device.type][0]))

    def seconds(number: int) -> float:
        world.barrier()
        began = perf_counter()
        for _ in range(number):
            taken.take()
        taken.wait()
        return perf_counter() - began

    seconds(1)
    # As many on all ranks, or one would wait for the other's next reduction for ever.
    number = world.from_main(max(3, min(100, int(SECONDS / seconds(1)))))
    slowest: float = max(world.gather(seconds(number)))
    return world.size * taken.tokens * number / slowest
