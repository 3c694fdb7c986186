"""A rank has a GPU of its own, whatever its launcher shows it."""

from __future__ import annotations

import os

import pytest

from configs.errors import InputError
from pretrain.ranks import devices
from pretrain.ranks.devices import (
    device_index,
    follow_nccl,
    interfaces,
    local_rank_is,
    require_own_devices,
)


@pytest.mark.parametrize("visible, expected", [(8, [0, 1, 2, 3]), (1, [0, 0, 0, 0])])
def test_all_gpus_of_a_machine_are_seen_or_one(visible, expected):
    assert [device_index(rank, visible) for rank in range(4)] == expected


def test_one_gpu_a_rank_is_required_and_who_shares_one_is_named():
    require_own_devices(["n1 a", "n1 b", "n2 a", "n2 b"])
    with pytest.raises(InputError, match=r"ranks 1 and 3 have one GPU \(n1 b\).*--num_gpus"):
        require_own_devices(["n1 a", "n1 b", "n2 a", "n1 b"])


def test_deepspeed_is_told_the_device_and_others_the_rank(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    with local_rank_is(0):
        assert os.environ["LOCAL_RANK"] == "0"
    with local_rank_is(None):
        assert os.environ["LOCAL_RANK"] == "3"
    assert os.environ["LOCAL_RANK"] == "3"


@pytest.mark.parametrize(
    "chosen, expected",
    [
        ("eth", ["eth0", "eth1"]),
        ("=eth1", ["eth1"]),
        ("=eth", []),
        ("ib0,eth1", ["eth1", "ib0"]),
        ("^docker", []),
        ("^=eth0", []),
    ],
)
def test_a_choice_of_interfaces_is_read_as_nccl_reads_it(chosen, expected):
    assert interfaces(chosen, ["lo", "eth0", "eth1", "ib0", "docker0"]) == expected


def test_gloo_follows_unless_it_has_a_choice_of_its_own(monkeypatch):
    monkeypatch.setattr(devices.socket, "if_nameindex", lambda: [(1, "lo"), (2, "ib0")])
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    follow_nccl()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    follow_nccl()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"
