"""`engine.precision: auto` follows what the machine multiplies faster."""

import pytest
import torch

from pretrain.engine import engine
from pretrain.engine.engine import resolve_precision
from pretrain.engine.world import World

HERE = World(0, 1, torch.device("cpu"))


@pytest.fixture
def machine(monkeypatch):
    """Sets the FLOP/s of both types, and whether the processor has instructions for bf16."""

    def build(fp32: float, bf16: float, can_bf16: bool = True) -> None:
        peaks = {"fp32": fp32, "bf16": bf16}
        monkeypatch.setattr(engine, "matmul_peak", lambda device, name, seconds: peaks[name])
        monkeypatch.setattr(engine, "can_multiply_bf16", lambda device: can_bf16)

    return build


@pytest.mark.parametrize("bf16, chosen", [(4.0, "bf16"), (1.2, "fp32"), (0.5, "fp32")])
def test_bf16_must_be_clearly_faster(machine, bf16, chosen):
    machine(1.0, bf16)
    assert resolve_precision("auto", HERE) == chosen


def test_a_processor_without_bf16_is_not_asked(machine, monkeypatch):
    machine(1.0, 9.0, can_bf16=False)
    monkeypatch.setattr(engine, "matmul_peak", None)
    assert resolve_precision("auto", HERE) == "fp32"


def test_what_was_chosen_stays(machine):
    machine(1.0, 0.01, can_bf16=False)
    assert resolve_precision("bf16", HERE) == "bf16"
