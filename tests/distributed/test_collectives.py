"""Bucket size, overlap and compression: what they change, and what they must not."""

from __future__ import annotations

import os

import numpy as np
import pytest

from configs.errors import InputError
from tests.distributed.ranks import on_ranks
from tests.distributed.training import (
    open_engine,
    tiny_config,
    train_steps,
    write_random_store,
)

pytestmark = pytest.mark.distributed
STEPS = 8
ACCUMULATING = "batch.micro_sequences=4"
LOSSLESS = {
    "one bucket": (0, []),
    "small buckets": (0, ["collective.bucket_megabytes=0.01"]),
    "afterwards": (0, ["collective.bucket_megabytes=0.01", "collective.overlap=false"]),
    "tiny, stage 1": (1, ["collective.bucket_megabytes=0.01"]),
    "overlap, stage 1": (1, ["collective.bucket_megabytes=0.05", "collective.overlap=true"]),
    "overlap, stage 2": (2, ["collective.bucket_megabytes=0.05", "collective.overlap=true"]),
}
COMPRESSED = {
    f"{name}, stage {stage}": (stage, [f"collective.compression={name}"])
    for name in ("bf16", "fp16")
    for stage in (0, 1)
}
AUTOCAST = {
    "plain": (1, ["engine.precision=bf16"]),
    "bf16": (1, ["engine.precision=bf16", "collective.compression=bf16"]),
}


def observe(store: str, variants: list[tuple[int, list[str]]]) -> list[tuple]:
    """Of each variant: losses, and the sizes and number formats of its reductions."""
    import torch.distributed as dist

    from pretrain.ranks import world as ranks

    world, found, reduce = ranks.start(), [], dist.all_reduce

    def spy(tensor, *arguments, **options):
        sent.append((tensor.numel(), str(tensor.dtype).removeprefix("torch.")))
        return reduce(tensor, *arguments, **options)

    dist.all_reduce = spy
    for stage, overrides in variants:
        sent: list[tuple[int, str]] = []
        config = tiny_config([f"engine.zero_stage={stage}", ACCUMULATING, *overrides])
        engine, batches = open_engine(world, store, config)
        found.append((train_steps(engine, batches, 0, STEPS), sent))
    ranks.stop()
    return found


@pytest.fixture(scope="module")
def observed(tmp_path_factory) -> dict[str, tuple]:
    store = str(write_random_store(tmp_path_factory.mktemp("store")))
    variants = LOSSLESS | COMPRESSED | AUTOCAST
    return dict(zip(variants, on_ranks(observe, 2, store, list(variants.values()))[0]))


def test_buckets_and_overlap_do_not_change_the_curve(observed):
    reference = observed["one bucket"][0]
    assert reference[-1] < reference[0] - 0.1, "nothing was learnt"
    for name in LOSSLESS:
        np.testing.assert_allclose(observed[name][0], reference, rtol=1e-5, err_msg=name)
    assert observed["afterwards"] == observed["small buckets"], "not bit for bit"


def test_when_buckets_leave_changes_no_bit(tmp_path):
    """Three ranks, whose sums depend on their order, with layers recomputed."""
    store = str(write_random_store(tmp_path))
    small = ["collective.bucket_megabytes=0.01", "engine.activation_checkpointing=true"]
    variants = [(0, [*small, f"collective.overlap={choice}"]) for choice in ("true", "false")]
    during, after = on_ranks(observe, 3, store, variants)[0]
    assert during == after and len({size for size, _ in during[1]}) > 5


def test_the_bucket_size_decides_how_gradients_travel(observed):
    one, small = (
        [size for size, _ in observed[name][1] if size > 100]
        for name in ("one bucket", "small buckets")
    )
    assert len(small) > 3 * len(one) and sum(small) == sum(one)
    assert len(set(one)) == 1, "each step reduces once, whatever it accumulates"


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_gradients_travel_so_and_round(observed, name):
    losses, sent = observed[name]
    number = {"bf16": "bfloat16", "fp16": "float16"}[name[:4]]
    assert {kind for size, kind in sent if size > 1000} == {number}
    assert losses != observed["one bucket"][0], "nothing was rounded"
    np.testing.assert_allclose(losses, observed["one bucket"][0], rtol=1e-3)


def test_under_autocast_gradients_travel_in_fp32_unless_asked(observed):
    kinds = {name: {kind for size, kind in observed[name][1] if size > 1000} for name in AUTOCAST}
    assert kinds == {"plain": {"float32"}, "bf16": {"bfloat16"}}


def test_a_compression_without_effect_is_refused():
    from pretrain.engine.engine import check_compression

    config = tiny_config(["collective.compression=fp16", "engine.zero_stage=1"])
    check_compression(config, "fp32")
    with pytest.raises(InputError, match=r"collective\.compression=fp16 has no effect"):
        check_compression(config, "bf16")


def test_bytes_on_the_wire_are_the_rings(tmp_path):
    """Interface counters of 2 and 4 network namespaces, around real optimizer steps."""
    import json
    import subprocess
    import sys

    from tests.distributed import ring_bytes

    reason = ring_bytes.namespaces_work()
    if reason:
        pytest.skip(reason)
    command = [sys.executable, ring_bytes.__file__, "--json", "--ranks", "2", "4"]
    environment = {name: v for name, v in os.environ.items() if name != "GLOO_SOCKET_IFNAME"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    for ranks, answers in found.items():
        for answer in answers:
            share = 2 * (int(ranks) - 1) / int(ranks)
            assert answer["expected"] == share * answer["gradient_bytes"]
            assert answer["sent"] == pytest.approx(answer["expected"], rel=0.1)
