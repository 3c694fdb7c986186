"""Checkpoints: exact on the same ranks, the same curve on others, and never half of one."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from configs.errors import InputError
from configs.schema import CheckpointConfig
from pretrain.ranks.world import World
from pretrain.run.checkpoint_folder import list_checkpoints, prune, step_of
from tests.distributed.ranks import on_ranks
from tests.distributed.training import open_engine, tiny_config, train_steps, write_random_store

pytestmark = pytest.mark.distributed
HALF, END = 5, 10


def begin(store: str, folder: str, overrides: list[str], asynchronous: bool = False) -> list[float]:
    """Train to HALF, save, continue to END: the uninterrupted run."""
    from pretrain.ranks import world as ranks
    from pretrain.run import checkpoint, checkpoint_state

    world = ranks.start()
    engine, batches = open_engine(world, store, tiny_config(overrides))
    writer = checkpoint.Writer(Path(folder), CheckpointConfig(asynchronous=asynchronous))
    losses = train_steps(engine, batches, 0, HALF)
    writer.save(engine, checkpoint_state.State(HALF))
    losses += train_steps(engine, batches, HALF, END)
    writer.save(engine, checkpoint_state.State(END))
    writer.wait()
    ranks.stop()
    return losses


def resume(store: str, folder: str, overrides: list[str]) -> tuple[list[float], dict]:
    """Load the checkpoint at HALF into a fresh engine and continue to END."""
    from pretrain.ranks import world as ranks
    from pretrain.run import checkpoint, checkpoint_state

    world = ranks.start()
    engine, batches = open_engine(world, store, tiny_config(overrides), weights_seed=99)
    checkpoint.restore(Path(folder) / f"step-{HALF:08d}", engine, checkpoint_state.State(HALF))
    losses = train_steps(engine, batches, HALF, END)
    weights, _ = checkpoint.gather(engine)
    ranks.stop()
    return losses, {name: w.numpy() for name, w in weights.items()}


def last_weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / f"step-{END:08d}" / "model.safetensors")


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_two_ranks_resume_bit_for_bit(tmp_path, stage):
    store, folder = str(write_random_store(tmp_path / "store")), tmp_path / "checkpoints"
    overrides = [f"engine.zero_stage={stage}", "batch.micro_sequences=4"]
    losses, _ = on_ranks(begin, 2, store, str(folder), overrides)
    (resumed, weights), _ = on_ranks(resume, 2, store, str(folder), overrides)
    assert resumed == losses[HALF:]
    for name, expected in last_weights(folder).items():
        np.testing.assert_array_equal(weights[name], expected, err_msg=name)


MUON = [
    "optimizer.name=muon",
    f"schedule={{max_steps: {END}, decay: wsd, decay_fraction: 0.4, warmup_fraction: 0}}",
]


def test_muon_and_wsd_resume_bit_for_bit_and_on_other_ranks_by_the_curve(tmp_path):
    store, folder = str(write_random_store(tmp_path / "store")), tmp_path / "checkpoints"
    losses, _ = on_ranks(begin, 2, store, str(folder), MUON)
    (resumed, weights), _ = on_ranks(resume, 2, store, str(folder), MUON)
    assert resumed == losses[HALF:]
    for name, expected in last_weights(folder).items():
        np.testing.assert_array_equal(weights[name], expected, err_msg=name)
    ((alone, _),) = on_ranks(resume, 1, store, str(folder), MUON)
    np.testing.assert_allclose(alone, losses[HALF:], rtol=1e-4)


@pytest.mark.parametrize("stages", [(0, 2), (1, 0)], ids=["zero0-to-zero2", "zero1-to-zero0"])
def test_other_ranks_and_stages_go_on_with_the_curve(tmp_path, stages):
    store, folder = str(write_random_store(tmp_path / "store")), tmp_path / "checkpoints"
    before, after = ([f"engine.zero_stage={stage}"] for stage in stages)
    (losses,) = on_ranks(begin, 1, store, str(folder), before)
    (resumed, _), _ = on_ranks(resume, 2, store, str(folder), after)
    np.testing.assert_allclose(resumed, losses[HALF:], rtol=1e-4)


def test_each_of_100_random_damages_is_found_and_the_one_before_is_used(tmp_path, console):
    from pretrain.run import checkpoint

    store, folder = str(write_random_store(tmp_path / "store")), tmp_path / "checkpoints"
    on_ranks(begin, 1, store, str(folder), [])
    newest, before = (folder / f"step-{step:08d}" for step in (END, HALF))
    assert checkpoint.find_last(folder) == newest
    chance, files = random.Random(0), sorted(newest.iterdir())
    assert {path.name for path in files} == {*checkpoint.FILES, "manifest.json", "complete"}
    for number in range(100):
        path = files[number % len(files)]
        content = path.read_bytes()
        path.write_bytes(damaged(content, chance, cut=number // len(files) % 2 == 0))
        assert checkpoint.find_last(folder) == before, path.name
        path.write_bytes(content)
    assert console.readouterr().err.count("is damaged") == 100
    assert checkpoint.find_last(folder) == newest
    for path in list_checkpoints(folder):
        (path / "manifest.json").unlink()
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        checkpoint.find_last(folder)


def damaged(content: bytes, chance: random.Random, cut: bool) -> bytes:
    """`content` cut short, or with another byte in one place."""
    place = chance.randrange(len(content))
    if cut:
        return content[:place]
    return (
        content[:place] + bytes([content[place] ^ chance.randrange(1, 256)]) + content[place + 1 :]
    )


def test_written_in_a_thread_they_are_the_same(tmp_path):
    store = str(write_random_store(tmp_path / "store"))
    for name, asynchronous in (("thread", True), ("loop", False)):
        on_ranks(begin, 1, store, str(tmp_path / name), [], asynchronous)
    for step in (HALF, END):
        folders = [tmp_path / name / f"step-{step:08d}" for name in ("thread", "loop")]
        hashes = [(folder / "manifest.json").read_text() for folder in folders]
        assert hashes[0] == hashes[1], "what was saved is what stood there when it was asked for"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_leaves_the_checkpoint_before_whole(tmp_path, monkeypatch, asynchronous):
    from pretrain.run import checkpoint, checkpoint_state

    engine = SimpleNamespace(
        world=World(0, 1, torch.device("cpu")),
        model=torch.nn.Linear(2, 2),
        full_weight=lambda p: p,
        moments_of=lambda _: checkpoint.MOMENTS,
        full_moment=lambda p, _: torch.zeros_like(p),
    )
    writer = checkpoint.Writer(tmp_path, CheckpointConfig(asynchronous=asynchronous))
    writer.save(engine, checkpoint_state.State(1))
    writer.wait()

    def full(path: Path, tensors: dict) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(InputError, match="step-00000002: the disk is full"):
        writer.save(engine, checkpoint_state.State(2))
        writer.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.find_last(tmp_path) == tmp_path / "step-00000001"


def test_only_the_last_checkpoints_of_the_present_branch_stay(tmp_path):

    for step in (1, 2, 3, 7, 9):
        (tmp_path / f"step-{step:08d}").mkdir()
    (tmp_path / ".step-00000003.torn").mkdir()
    prune(tmp_path, step=3, keep=2)
    assert [path.name[-1] for path in sorted(tmp_path.iterdir())] == ["2", "3"]


def test_every_so_many_steps_one_stays_for_ever(tmp_path):

    for step in range(2, 18, 2):
        (tmp_path / f"step-{step:08d}").mkdir()
    prune(tmp_path, step=16, keep=2, keep_every=6)
    assert [step_of(path) for path in sorted(tmp_path.iterdir())] == [6, 12, 14, 16]


def test_another_recipe_is_refused_unless_told(tmp_path):
    from pretrain.run import checkpoint_state

    state = {"step": 3, "fingerprints": {"seed": "0", "corpus": "old"}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    now = {"seed": "0", "corpus": "new"}
    with pytest.raises(InputError, match=r"corpus=old.*checkpoint\.allow_changes=\[corpus\]"):
        checkpoint_state.read_state(tmp_path, now)
    assert checkpoint_state.read_state(tmp_path, now, allowed=["corpus"]).step == 3
    with pytest.raises(InputError, match="seed=0"):
        checkpoint_state.read_state(tmp_path, {**now, "seed": "1"}, allowed=["corpus"])
