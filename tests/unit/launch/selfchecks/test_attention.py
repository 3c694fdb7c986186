"""The check of attention passes what is right, and notices what is wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import torch

from launch.selfchecks import attention
from launch.selfchecks.attention import GROUPS, compare, dropout, equal_bits
from pretrain.model.attention import attend
from pretrain.model.dropout import AttentionDropout
from pretrain.model.scope import Scope

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Sequences that take no time."""
    ragged = (40, 1, 7, 33)
    documents = ((30, 10), (1,), (3, 4), (33,))
    window = Scope(reach=5)
    Case = attention.Case
    groups = {
        "lengths": [Case("ragged", ragged), Case("one", (1,))],
        "window": [Case("ragged", ragged, window)],
        "documents": [Case("ragged", ragged, documents=documents)],
    }
    monkeypatch.setattr(attention, "GROUPS", groups)
    monkeypatch.setattr(attention, "RAGGED", ragged)


def states(backend: str = "eager", dtype: torch.dtype = torch.float32) -> dict[str, str]:
    return {
        group: compare("", backend, cases, CPU, dtype).state
        for group, cases in attention.GROUPS.items()
    }


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_right_passes(backend, dtype):
    assert set(states(backend, dtype).values()) == {"ok"}


def scaled(qkv, *rest):
    return attend(torch.cat([1.1 * qkv[:, :1], qkv[:, 1:]], 1), *rest)


def wide(qkv, packing, backend, drop, scope):
    wider = Scope(reach=scope.reach + 1) if scope.reach else scope
    return attend(qkv, packing, backend, drop, wider)


def across(qkv, packing, *rest):
    return attend(qkv, replace(packing, documents=None), *rest)


def without_keys_gradient(qkv, *rest):
    return attend(torch.cat([qkv[:, :1], qkv[:, 1:2].detach(), qkv[:, 2:]], 1), *rest)


def not_a_number(qkv, *rest):
    return attend(qkv, *rest) / 0


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        (scaled, set(GROUPS)),
        (wide, {"window"}),
        (across, {"documents"}),
        (without_keys_gradient, set(GROUPS)),
        (not_a_number, set(GROUPS)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_wrong_backend_fails(broken, failing, dtype, monkeypatch):
    monkeypatch.setattr(attention, "attend", broken)
    assert {group for group, state in states(dtype=dtype).items() if state == "FAILED"} == failing


def test_bits_that_differ_are_told(monkeypatch):
    assert equal_bits("", "eager", CPU, torch.float32).state == "ok"
    times = count()
    monkeypatch.setattr(
        attention, "attend", lambda qkv, *rest: attend(qkv, *rest) * (1 + 1e-6 * next(times))
    )
    found = equal_bits("", "eager", CPU, torch.float32)
    assert found.state == "FAILED" and "outputs DIFFER" in found.text


def twice_the_rate(qkv, packing, backend, drop, scope):
    return attend(qkv, packing, backend, AttentionDropout(2 * drop.rate, 1), scope)


def not_made_up_for(qkv, packing, backend, drop, scope):
    return attend(qkv, packing, backend, drop, scope) * (1 - drop.rate)


def deaf_to_the_seed(qkv, packing, *rest):
    return attend(qkv, replace(packing, dropout_keys=tuple(range(packing.sequences))), *rest)


def forgetful(qkv, packing, *rest):
    other = attend(qkv, replace(packing, dropout_keys=tuple(range(packing.sequences))), *rest)
    return attend(qkv, packing, *rest).detach() + other - other.detach()


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        (attend, set()),
        (twice_the_rate, {" dropout"}),
        (not_made_up_for, {" dropout"}),
        (deaf_to_the_seed, {" dropout's seed"}),
        (forgetful, {" dropout's gradient"}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_wrong_dropout_fails(broken, failing, dtype, monkeypatch):
    monkeypatch.setattr(attention, "attend", broken)
    found = dropout("", "eager", CPU, dtype)
    assert {f.check.removeprefix(",") for f in found if f.state == "FAILED"} == failing
