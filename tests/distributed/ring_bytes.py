"""How many bytes a training step really sends, by the counters of network interfaces.

Every rank runs in a network namespace of its own, with one interface to a common bridge, as on a
machine of its own. Needs root.

    python tests/distributed/ring_bytes.py --ranks 2 4 8 [key=value ...]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[0] = str(ROOT)

INTERFACE, NETWORK = "eth0", "10.231.93"
CLONE_NEWNET = 0x40000000
STEPS = 3
MODEL = [
    "model={layers: 2, hidden_size: 256, heads: 4, feed_forward_size: 1024, max_positions: 64}",
    "batch={sequences: 8, micro_sequences: 1}",
]


def namespaces_work() -> str | None:
    """None, or why no network namespace can be made here."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with connected_namespaces(1):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"


@contextmanager
def connected_namespaces(number: int) -> Iterator[list[str]]:
    """Names of `number` namespaces, each with an interface at NETWORK.1, .2, ... on one bridge.

    The bridge has a namespace too, so nothing of the host's own network is touched.
    """
    run = uuid.uuid4().hex[:6]
    hub, names = f"ring{run}hub", [f"ring{run}n{rank}" for rank in range(number)]
    try:
        for name in (hub, *names):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        for rank, name in enumerate(names):
            _plug_in(hub, name, f"port{rank}", f"{NETWORK}.{rank + 1}/24")
        yield names
    finally:
        for name in (*names, hub):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _plug_in(hub: str, name: str, port: str, address: str) -> None:
    _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", INTERFACE, "netns", name)
    _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
    _ip("-n", name, "addr", "add", address, "dev", INTERFACE)
    _ip("-n", name, "link", "set", INTERFACE, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def measure(ranks: int, overrides: list[str]) -> list[dict]:
    """What each rank sent in a step, and what the formula says; one process a namespace.

    The processes are forks, so that torch and DeepSpeed are imported once.
    """
    fork = multiprocessing.get_context("fork")
    with connected_namespaces(ranks) as names:
        pipes = [fork.Pipe(duplex=False) for _ in names]
        processes = [
            fork.Process(target=enter, args=(rank, ranks, name, overrides, pipe[1]))
            for rank, (name, pipe) in enumerate(zip(names, pipes))
        ]
        for process in processes:
            process.start()
        try:
            return [_receive(process, pipe[0]) for process, pipe in zip(processes, pipes)]
        finally:
            for process in processes:
                process.join(timeout=10)
                process.kill()


def _receive(process: Process, pipe: Connection) -> dict:
    while not pipe.poll(0.1):
        assert process.is_alive(), f"a rank ended with code {process.exitcode}"
    return pipe.recv()


def enter(rank: int, ranks: int, namespace: str, overrides: list[str], answer: Connection) -> None:
    """Move this process into `namespace` and be a rank there."""
    with open(f"/var/run/netns/{namespace}") as file:
        status = ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET)
    assert status == 0, os.strerror(ctypes.get_errno())
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK="0",
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR=f"{NETWORK}.1",
        MASTER_PORT="29500",
        GLOO_SOCKET_IFNAME=INTERFACE,
    )
    answer.send(rank_main(overrides))


def rank_main(overrides: list[str]) -> dict:
    """One rank: train a small model on random tokens and count what its interface sends."""
    from pretrain.engine.engine import Engine
    from pretrain.model.pretraining import PretrainingModel, initialise
    from pretrain.ranks import world as worlds
    from pretrain.ranks.collectives import Traffic
    from tests.distributed.training import tiny_config
    from tests.unit.pretrain.model.examples import random_batch

    world = worlds.start()
    config = tiny_config([*MODEL, *overrides])
    model = PretrainingModel(config.model, 1000, pad_id=0, next_sentence=False)
    initialise(model, config.model, seed=0)
    engine = Engine(model, config, world, config.engine.precision)
    micro_batches = config.batch.micro_batches(world.size) // world.size
    batch = random_batch([config.max_length])

    def train(steps: int) -> int:
        """Bytes this rank sent in `steps` steps."""
        world.barrier()
        before = bytes_sent()
        for _ in range(steps):
            for number in range(micro_batches):
                engine.backward(engine(batch).mlm_loss_sum, is_last=number == micro_batches - 1)
            engine.step(1e-3)
        world.barrier()
        return bytes_sent() - before

    train(1)
    sent = train(STEPS) / STEPS
    sizes = [parameter.numel() for parameter in model.parameters()]
    traffic = Traffic.of(sizes, config.collective, config.engine.zero_stage, micro_batches)
    found = {
        "gradient_bytes": traffic.gradient_bytes,
        "expected": traffic.bytes_sent(world.size),
        "sent": sent,
    }
    worlds.stop()
    return found


def bytes_sent() -> int:
    """Bytes that INTERFACE of this namespace has sent, headers and acknowledgements included."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    (line,) = (line for line in lines if line.strip().startswith(f"{INTERFACE}:"))
    return int(line.partition(":")[2].split()[8])


def main() -> None:
    """The table for some numbers of ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_intermixed_args()
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # noqa: F401

    found = {ranks: measure(ranks, arguments.overrides) for ranks in arguments.ranks}
    print(json.dumps(found) if arguments.json else table(found))


def table(found: dict[int, list[dict]]) -> str:
    """A line for each number of ranks."""
    head = f"{'ranks':>5}{'reduced bytes':>15}{'formula':>13}{'sent, least':>13}{'most':>13}  ratio"
    lines = [head]
    for ranks, answers in found.items():
        sent = [rank["sent"] for rank in answers]
        reduced, expected = answers[0]["gradient_bytes"], answers[0]["expected"]
        lines.append(
            f"{ranks:>5}{reduced:>15,}{expected:>13,.0f}{min(sent):>13,.0f}{max(sent):>13,.0f}"
            f"  {min(sent) / expected:.3f} to {max(sent) / expected:.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
