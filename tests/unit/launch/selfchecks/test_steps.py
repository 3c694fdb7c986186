"""What is made of profiles and measurements of whole steps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from configs.errors import InputError
from launch.selfchecks import steps
from launch.selfchecks.advice import advice
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import told
from launch.selfchecks.steps import Setting, memory, of_data_sheet


@pytest.mark.parametrize(("factor", "state"), [(1.05, "ok"), (1.15, "FAILED"), (0.85, "FAILED")])
def test_memory_far_from_doctors_word_fails(factor, state):
    setting = SimpleNamespace(name="", predicted_bytes=1e9)
    assert memory(setting, factor * 1e9).state == state


@pytest.mark.parametrize(("waits", "state"), [(False, "ok"), (True, "FAILED")])
def test_a_step_that_waits_for_the_device_fails(waits, state, monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def take():
        if waits:
            raise RuntimeError("called a synchronizing CUDA operation")

    found = steps.waits(SimpleNamespace(name="x"), SimpleNamespace(take=take))
    assert found.state == state and modes == ["error", "default"]


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Setting:
    """A model of nothing much, in a group of one that the test leaves again."""
    from pretrain.ranks.world import World

    monkeypatch.setattr(steps, "VOCABULARIES", {"cpu": 1000})
    monkeypatch.setattr(steps, "SIZES", {"cpu": ((1, 16), (2, 16))})
    monkeypatch.setattr(steps, "WORTH_TRYING", 0.0)
    setting = Setting(Bench(tmp_path, 600.0), "eager", 2, 16)
    setting.bench.world = World(0, 1, torch.device("cpu"))
    monkeypatch.setattr(Setting, "precision", "fp32")
    return setting


def test_a_model_that_knows_too_much_fails(tiny, monkeypatch):
    monkeypatch.setattr(steps, "Steps", Guesser)
    states = {f.check: f.state for f in steps.examine(tiny)}
    assert states["eager 2 x 16, first loss"] == "FAILED"


@pytest.mark.parametrize(
    ("trouble", "state"),
    [
        (torch.OutOfMemoryError("full"), "skipped"),
        (InputError("cannot be compiled"), "skipped"),
        (RuntimeError("an illegal memory access"), "FAILED"),
    ],
)
def test_a_setting_that_fails_stops_no_other(tiny, trouble, state, monkeypatch):
    def examine(setting):
        if setting.sequences == 1:
            raise trouble
        yield told(setting.name, "")

    monkeypatch.setattr(steps, "examine", examine)
    found = {finding.check: finding.state for finding in steps.check(tiny.bench)}
    assert found["eager 1 x 16"] == state and found["eager 2 x 16"] == "ok"


@pytest.mark.parametrize(("factor", "state"), [(1.001, "ok"), (1.05, "FAILED")])
def test_compiled_layers_that_compute_something_else_fail(tiny, factor, state, monkeypatch):
    class Compiled(Guesser):
        def __init__(self, setting):
            super().__init__(setting)
            self.norm = factor if setting.compiled else 1.0

    monkeypatch.setattr(steps, "Steps", Compiled)
    (found,) = steps.same_when_compiled(tiny)
    assert found.state == state


@pytest.mark.parametrize("ragged", [False, True])
def test_full_sequences_alone_decide_what_is_fastest(tiny, ragged):
    tiny.bench.known = {"machine/peak fp32": {"flops": 1e9}}
    found = steps.speed(replace(tiny, ragged=ragged), Guesser(tiny))
    assert found.state == "ok" and ("model.attention" in advice({"it": found.values})) != ragged


class Guesser:
    """Takes steps of no work whose loss is 1."""

    def __init__(self, setting):
        self.tokens, self.flops = 32, 1e6

    def take(self):
        return torch.ones(())

    def wait(self):
        return None

    def seconds(self, limit):
        return 1.0


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("Radeon", None),
    ],
)
def test_a_gpu_is_found_in_doctors_table(name, entry, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: name)
    found = of_data_sheet(1e12)
    assert (found and found[0]) == entry
