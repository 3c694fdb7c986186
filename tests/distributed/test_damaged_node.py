"""Damage that one node alone sees ends the ranks of all nodes, before the next checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.distributed.ranks import on_ranks
from tests.helpers import random_documents, write_store

DOCUMENTS = random_documents(0, 200)


def certify_twice(stores: list[str], cache: str) -> list[str | None]:
    """Read what is whole, then what is damaged on one node; what each checkpoint said."""
    from configs.errors import RunError
    from configs.schema import DataConfig
    from pretrain.data import verification
    from pretrain.data.store import TokenStore
    from pretrain.engine.certify import Certifier
    from pretrain.ranks import world as ranks

    verification.AT_ONCE = 0
    world = ranks.start()
    verification.platform.node = lambda: f"node{world.rank}"
    folder = Path(stores[world.rank])
    store = TokenStore.open(folder, "train")
    begun = verification.Verification(folder, DataConfig(cache=cache))
    begun.begin()
    certifier = Certifier(world, SimpleNamespace(train=store, heldout=store), begun)
    said = []
    for place in (10, store.token_count - 10):
        store.gather(np.asarray([place]), np.asarray([place + 5]))
        try:
            certifier.certify(lambda: None)
            said.append(None)
        except RunError as error:
            said.append(str(error))
    ranks.stop()
    return said


def share_a_node(store: str, cache: str) -> str | None:
    """Rank 1 alone reads what is damaged, and rank 0 verifies for both."""
    from configs.errors import RunError
    from configs.schema import DataConfig
    from pretrain.data import verification
    from pretrain.data.store import TokenStore
    from pretrain.engine.certify import Certifier
    from pretrain.ranks import world as ranks

    verification.AT_ONCE = 0
    world, said = ranks.start(), None
    opened = TokenStore.open(Path(store), "train")
    begun = verification.Verification(Path(store), DataConfig(cache=cache), leads=world.is_main)
    begun.begin()
    if world.rank == 1:
        opened.tokens(opened.token_count - 5, opened.token_count)
    try:
        Certifier(world, SimpleNamespace(train=opened, heldout=opened), begun).certify(lambda: None)
    except RunError as error:
        said = str(error)
    ranks.stop()
    return said


def damage_the_end(store: Path) -> Path:
    tokens = sorted(store.glob("train/*.tokens"))[-1]
    content = bytearray(tokens.read_bytes())
    content[-1] ^= 1
    tokens.write_bytes(content)
    return tokens


def test_what_one_rank_sees_ends_all(tmp_path):
    whole = write_store(tmp_path / "whole", 1000, 1000, train=DOCUMENTS)
    damaged = Path(shutil.copytree(whole, tmp_path / "damaged"))
    tokens = damage_the_end(damaged)
    said = on_ranks(certify_twice, 2, [str(whole), str(damaged)], str(tmp_path / "cache"))
    assert said[0] == said[1] and said[0][0] is None
    assert said[0][1].startswith(f"{tokens}: content is damaged (block 1 of 1, ")


def test_what_another_rank_of_the_node_used_is_verified(tmp_path):
    store = write_store(tmp_path / "store", 1000, 1000, train=DOCUMENTS)
    tokens = damage_the_end(store)
    said = on_ranks(share_a_node, 2, str(store), str(tmp_path / "cache"))
    assert said[0] == said[1] and said[0].startswith(f"{tokens}: content is damaged")
