"""Law 2: the same global batch gives the same curve, however it is shared out.

Acceptance: 1 and 2 ranks, accumulation 1, 2 and 4, dropout on, 20 steps, agree to 1e-4 relative.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.distributed.ranks import on_ranks
from tests.distributed.training import tiny_config, write_random_store

pytestmark = pytest.mark.distributed
STEPS = 20


def curves(store: str, variants: list[list[str]]) -> list[list[float]]:
    """The losses of `STEPS` steps under each variant of the configuration; runs on every rank."""
    from pretrain.ranks import world as ranks

    world = ranks.start()
    losses = [train(world, store, overrides) for overrides in variants]
    ranks.stop()
    return losses


def train(world, store: str, overrides: list[str]) -> list[float]:
    from tests.distributed.training import open_engine, train_steps

    engine, batches = open_engine(world, store, tiny_config(overrides))
    return train_steps(engine, batches, 0, STEPS)


def by_accumulation(world_size: int, *more: str) -> list[list[str]]:
    """Micro-batch sizes that make accumulation 1, 2 and 4 of a global batch of 16 sequences."""
    return [[f"batch.micro_sequences={16 // world_size // n}", *more] for n in (1, 2, 4)]


@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "stable-adamw", "muon"])
def test_ranks_and_accumulation_do_not_change_the_curve(tmp_path, optimizer):
    store = str(write_random_store(tmp_path / "store"))
    name = f"optimizer.name={optimizer}"
    (single,) = on_ranks(curves, 1, store, by_accumulation(1, name))
    both = on_ranks(curves, 2, store, by_accumulation(2, name))
    assert both[0] == both[1], "ranks disagree about the global loss"
    reference = np.array(single[0])
    assert reference[-1] != pytest.approx(reference[0], rel=1e-3), "nothing was learnt"
    for losses in [*single, *both[0]]:
        np.testing.assert_allclose(losses, reference, rtol=1e-4)


def test_zero_stages_agree(tmp_path):
    store = str(write_random_store(tmp_path / "store"))
    stages = [[f"engine.zero_stage={stage}", "batch.micro_sequences=4"] for stage in (0, 1, 2)]
    losses, _ = on_ranks(curves, 2, store, stages)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)


def test_dropout_is_on_and_keyed_by_the_seed(tmp_path):
    """The agreement above would be empty if dropout did nothing."""
    store = str(write_random_store(tmp_path / "store"))
    variants = [[], ["model.dropout=0.0", "model.attention_dropout=0.0"], []]
    ((with_dropout, without, again),) = on_ranks(curves, 1, store, variants)
    assert with_dropout == again
    assert not np.allclose(with_dropout, without, rtol=1e-4)


def test_what_attention_sees_is_shared_out_alike(tmp_path):
    """Windows, documents and distances belong to the sample, whatever it is beside."""
    store = str(write_random_store(tmp_path / "store"))
    sees = ["document_attention=true", "model.attention_window=8", "model.global_every=2"]
    variants = [
        [f"model.position={position}", "batch.micro_sequences=4", *sees]
        for position in ("rope", "alibi")
    ]
    (single,), (both, _) = (on_ranks(curves, ranks, store, variants) for ranks in (1, 2))
    plain = on_ranks(curves, 1, store, [variant[:2] for variant in variants])[0]
    for one, two, without in zip(single, both, plain):
        np.testing.assert_allclose(one, two, rtol=1e-4)
        assert not np.allclose(one, without, rtol=1e-4), "documents and windows did nothing"


def source_figures(store: str) -> dict[str, float]:
    """What a new model scores on each half of a store as held-out text; runs on every rank."""
    from dataclasses import replace
    from pathlib import Path

    from pretrain.data.batches import heldout_batches
    from pretrain.data.collate import Collator
    from pretrain.data.store import TokenStore
    from pretrain.data.store_sources import StoreSources
    from pretrain.engine.evaluate import evaluate
    from pretrain.ranks import world as ranks
    from tests.distributed.training import VOCABULARY, open_engine
    from tests.helpers import simple_vocabulary

    world, config = ranks.start(), tiny_config(["batch.micro_sequences=4"])
    engine, _ = open_engine(world, store, config)
    split = TokenStore.open(Path(store), "train")
    ends = split.sentence_ends[split.document_ends[[99, -1]] - 1]
    split = replace(split, sources=StoreSources(("a", "b"), ends, np.diff(ends, prepend=0)))
    collate = Collator(split, config, simple_vocabulary(VOCABULARY))
    scores = evaluate(engine, heldout_batches(collate, world.rank, world.size), split)
    ranks.stop()
    return scores


def test_figures_of_each_source_are_shared_out_alike(tmp_path):
    store = str(write_random_store(tmp_path / "store"))
    (single,), both = (on_ranks(source_figures, ranks, store) for ranks in (1, 2))
    assert both[0] == both[1] == pytest.approx(single, rel=1e-6)
    assert {"mlm_loss/a", "mlm_loss/b"} < set(single)
    assert single["mlm_loss/a"] != pytest.approx(single["mlm_loss/b"], rel=1e-5)
