"""One global batch, shared out in every way: do the weights agree?

    python tests/distributed/equal_weights.py [--steps 50]

prints how far the weights are from those of one rank with one micro-batch at ZeRO 0, for 1, 2 and 4
gloo ranks, accumulation 1 to 8, ZeRO 0 to 2, and for a run that is resumed on 4, then 1, then 2
ranks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np

from tests.distributed.ranks import on_ranks
from tests.distributed.training import open_engine, tiny_config, train_steps, write_random_store

SEQUENCES = 32
Weights = dict[str, np.ndarray]


def variant(ranks: int, accumulation: int, stage: int) -> list[str]:
    """Overrides that share the global batch out in this way."""
    micro = SEQUENCES // ranks // accumulation
    return [
        f"batch={{sequences: {SEQUENCES}, micro_sequences: {micro}}}",
        f"engine.zero_stage={stage}",
        "optimizer.learning_rate=0.001",
    ]


def train_all(store: str, variants: list[list[str]], steps: int) -> list[Weights]:
    """The weights after `steps` steps under each variant; called on every rank."""
    from pretrain.ranks import world as ranks

    world = ranks.start()
    found = []
    for overrides in variants:
        engine, batches = open_engine(world, store, tiny_config(overrides))
        train_steps(engine, batches, 0, steps)
        found.append(weights_of(engine))
    ranks.stop()
    return found


def go_on(
    store: str, folder: str, overrides: list[str], first: int, last: int, found: str | None
) -> Weights:
    """Steps [first, last) from the checkpoint `found`, and the next one; called on every rank."""
    from configs.schema import CheckpointConfig
    from pretrain.ranks import world as ranks
    from pretrain.run import checkpoint, checkpoint_state

    world = ranks.start()
    engine, batches = open_engine(world, store, tiny_config(overrides), weights_seed=first)
    if found:
        checkpoint.restore(Path(found), engine, checkpoint_state.State(first))
    train_steps(engine, batches, first, last)
    checkpoint.Writer(Path(folder), CheckpointConfig()).save(engine, checkpoint_state.State(last))
    weights = weights_of(engine)
    ranks.stop()
    return weights


def weights_of(engine) -> Weights:
    from pretrain.run import checkpoint

    return {name: w.numpy().copy() for name, w in checkpoint.gather(engine)[0].items()}


def resumed(store: str, folder: Path, steps: int, stages: tuple[int, int, int]) -> Weights:
    """The weights of a run on 4, then 1, then 2 ranks, at these ZeRO stages."""
    found, done = None, 0
    for number, (ranks, stage) in enumerate(zip((4, 1, 2), stages), start=1):
        until = steps * number // 3
        arguments = (store, str(folder), variant(ranks, 2, stage), done, until, found)
        weights, *_ = on_ranks(go_on, ranks, *arguments)
        found, done = str(folder / f"step-{until:08d}"), until
    return weights


def distance(weights: Weights, reference: Weights) -> float:
    """|weights - reference| / |reference|, all parameters together."""

    def square(name: str, other: np.ndarray | float = 0.0) -> float:
        return float(((reference[name].astype(np.float64) - other) ** 2).sum())

    far = sum(square(name, weights[name]) for name in reference)
    return (far / sum(square(name) for name in reference)) ** 0.5


def main() -> None:
    """Train in all ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=50)
    steps = parser.parse_args().steps
    folder = Path(tempfile.mkdtemp())
    store = str(write_random_store(folder / "store"))
    ways = [(a, stage) for a in (1, 2, 4, 8) for stage in (0, 1, 2)]
    reference = None
    print("ranks  accumulation  ZeRO  relative distance after", steps, "steps")
    for ranks in (1, 2, 4):
        variants = [variant(ranks, *way) for way in ways]
        found, *_ = on_ranks(train_all, ranks, store, variants, steps)
        reference = reference or found[0]
        for (accumulation, stage), weights in zip(ways, found):
            far = distance(weights, reference)
            print(f"{ranks:>5}  {accumulation:>12}  {stage:>4}  {far:.1e}", flush=True)
    for stages in ((0, 0, 0), (1, 1, 1), (2, 2, 2), (2, 0, 1)):
        far = distance(resumed(store, folder / str(stages), steps, stages), reference)
        print(f"resumed on 4, 1, 2 ranks at ZeRO {stages}: {far:.1e}", flush=True)


if __name__ == "__main__":
    main()
