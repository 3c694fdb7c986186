"""A gradient that is not finite, on whatever rank, changes nothing on any."""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed.ranks import on_ranks
from tests.distributed.training import open_engine, tiny_config, train_steps, write_random_store

pytestmark = pytest.mark.distributed
BAD = 2


def with_and_without(store: str, overrides: list[str]) -> tuple[list[float], dict, dict]:
    """(norms, weights with a bad step between two good ones, weights of the good ones alone)."""
    from pretrain.ranks import world as ranks
    from pretrain.run import checkpoint

    world = ranks.start()
    norms, results = [], []
    for bad in (True, False):
        engine, batches = open_engine(world, store, tiny_config(overrides))
        train_steps(engine, batches, 0, BAD)
        if bad:
            norms.append(float(spoilt_step(engine, batches)))
        train_steps(engine, batches, BAD + 1, BAD + 3)
        weights, moments = checkpoint.gather(engine)
        results.append({name: t.numpy().copy() for name, t in (weights | moments).items()})
    ranks.stop()
    return norms, *results


def spoilt_step(engine, batches):
    """The step BAD, with a loss that is not a number in the last rank's last micro-batch."""
    world = engine.world
    parts = batches.step(BAD, world.rank, world.size)
    for number, batch in enumerate(parts):
        is_last = number == len(parts) - 1
        spoilt = is_last and world.rank == world.size - 1
        loss = engine(batch).mlm_loss_sum * (float("nan") if spoilt else 1.0)
        engine.backward(loss, is_last=is_last)
    return engine.step(0.01)


@pytest.mark.parametrize(
    ("ranks", "overrides"),
    [
        (1, ["optimizer.name=adamw"]),
        (2, ["optimizer.name=adamw", "batch.micro_sequences=4"]),
        (2, ["optimizer.name=lamb"]),
        (2, ["optimizer.name=stable-adamw"]),
        (2, ["optimizer.name=muon"]),
        (2, ["engine.zero_stage=2"]),
    ],
    ids=["adamw", "adamw-2-ranks", "lamb-2-ranks", "stable-adamw-2-ranks", "muon-2-ranks", "zero2"],
)
def test_a_bad_step_is_as_if_it_had_not_been(tmp_path, ranks, overrides):
    store = str(write_random_store(tmp_path / "store"))
    (norms, after, expected), *_ = on_ranks(with_and_without, ranks, store, overrides)
    assert not np.isfinite(norms[0])
    for name, value in expected.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
