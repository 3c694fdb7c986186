"""Preparation in several processes, one of them killed in the middle of a piece."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.data.corpus import prepare, prepare_shard
from pretrain.data.verification import verify
from tests.conftest import Command
from tests.integration.test_bad_input import assert_one_line


def in_the_middle(folder: Path) -> bool:
    """Some pieces are finished and another one is being written."""
    finished = len(list(folder.glob("stores/*/[0-9]*/piece.json")))
    return finished >= 3 and any(folder.glob("stores/*/.[0-9]*/train/*.tokens"))


def kill_in_the_middle(command: Command, cache: Path) -> None:
    while not in_the_middle(cache):
        assert command.process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    command.kill()
    command.process.wait()


def inodes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.glob("[0-9]*/*/*.tokens")}


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_killed_shard_goes_on_where_it_was(launch, tiny, tmp_path):
    own = tmp_path / "cache"
    overrides = ["data.piece_megabytes=0.04", f"data.cache={own}"]
    arguments = ["prepare.py", "--config", tiny, *overrides, "--num-shards", 2]
    command = Command(*arguments, "--shard", 0, cwd=tmp_path)
    kill_in_the_middle(command, own)
    (store,) = (path for path in (own / "stores").iterdir() if path.is_dir())
    kept = inodes(store)

    done = launch(*arguments)
    assert_one_line(done, "pieces are missing", "shard 0, 1", "--shard 0")
    resumed = launch(*arguments, "--shard", 0)
    assert resumed.returncode == 0 and f"in {store}" in resumed.stdout, resumed.stderr
    assert kept.items() <= inodes(store).items() and len(kept) < len(inodes(store))
    prepare_shard(load_config(PretrainConfig, str(tiny), overrides), 1, 2)

    kept = inodes(store)
    merged = launch(*arguments)
    assert merged.returncode == 0, merged.stderr
    assert str(store) in merged.stdout and "full-sentences" in merged.stdout
    assert inodes(store) == kept
    verify(store, load_config(PretrainConfig, str(tiny), overrides).data)
    alone = [*overrides[:1], f"data.cache={tmp_path / 'alone'}"]
    assert content(store) == content(prepare(load_config(PretrainConfig, str(tiny), alone)).folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", 1], "--num-shards"),
        (["--shard", 2, "--num-shards", 2], "between 0 and 1"),
        (["--shard", -1, "--num-shards", 2], "between 0 and 1"),
        (["--num-shards", 0], "at least 1"),
    ],
)
def test_a_share_that_does_not_exist(launch, tiny, words, message):
    assert_one_line(launch("prepare.py", "--config", tiny, *words), message)
