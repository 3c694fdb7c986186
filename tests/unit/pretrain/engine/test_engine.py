"""What the engine does around DeepSpeed's own work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import EngineConfig, PretrainConfig
from pretrain.engine import engine as engine_module
from pretrain.engine.engine import Engine, check_residual
from pretrain.model.encoder import Encoder
from pretrain.model.softmax import softmax_in_pieces
from pretrain.ranks.world import World
from tests.unit.pretrain.model.examples import loss_of, random_batch, random_model, tiny

ENGINE = SimpleNamespace(world=World(0, 1, torch.device("cpu")))


class CastsOf(TorchDispatchMode):
    """How often each of some tensors is cast."""

    def __init__(self, weights: list[torch.Tensor]) -> None:
        super().__init__()
        self.counts = {id(weight): 0 for weight in weights}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name == "aten::_to_copy" and id(args[0]) in self.counts:
            self.counts[id(args[0])] += 1
        return func(*args, **kwargs or {})


def gradients(is_kept: bool, recomputes: bool, in_thread: bool) -> tuple[list, list[int]]:
    """(sums over three micro-batches, how often each weight of the layers was cast)."""
    model = random_model(tiny())
    model.encoder.activation_checkpointing = recomputes
    casts = CastsOf(list(model.encoder.layers.parameters()))
    with casts, Engine.casts_kept(ENGINE) if is_kept else nullcontext():
        for seed in range(3):
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(model, random_batch(seed=seed))
            if in_thread:  # as on CUDA, where recomputing in it ends what is kept
                thread = Thread(target=loss.backward)
                thread.start()
                thread.join()
            else:
                loss.backward()
    return [p.grad for p in model.parameters()], list(casts.counts.values())


def test_hidden_states_are_not_narrower_than_products():
    config = SimpleNamespace(engine=EngineConfig(residual="bf16"))
    check_residual(config, "bf16")
    with pytest.raises(InputError, match=r"residual=bf16 needs engine.precision=bf16, .* fp32"):
        check_residual(config, "fp32")


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("recomputes", [False, True])
def test_kept_casts_change_no_bit(recomputes, in_thread):
    plain, _ = gradients(False, recomputes, in_thread)
    kept, _ = gradients(True, recomputes, in_thread)
    for one, other in zip(plain, kept, strict=True):
        assert one is not None and one.dtype == torch.float32
        assert torch.equal(one, other)


def test_a_weight_is_cast_once_between_updates():
    plain, kept = (gradients(is_kept, False, False)[1] for is_kept in (False, True))
    assert set(plain) == {0, 3}  # norms stay in float32
    assert kept == [casts // 3 for casts in plain]


@pytest.fixture
def made(monkeypatch) -> Callable[..., Engine]:
    """Makes an engine whose DeepSpeed only holds the optimizer."""

    def initialize(**given: object) -> tuple[SimpleNamespace]:
        return (SimpleNamespace(optimizer=given["optimizer"]),)

    monkeypatch.setattr(engine_module, "_deepspeed", lambda: SimpleNamespace(initialize=initialize))
    config = load_config(PretrainConfig, "small").resolved()
    return partial(Engine, random_model(tiny()), config, ENGINE.world)


def test_compiling_takes_in_the_softmax_of_logits(monkeypatch, made):
    monkeypatch.setattr(Encoder, "compile_layers", lambda _: None)
    assert made("fp32").model.mlm_head.softmax is softmax_in_pieces
    assert made("fp32", compiles=True).model.mlm_head.softmax is not softmax_in_pieces


@pytest.mark.parametrize(("precision", "mode"), [("tf32", "high"), ("bf16", "highest")])
def test_products_of_fp32_follow_the_precision(made, precision, mode):
    try:
        made(precision)
        assert torch.get_float32_matmul_precision() == mode
    finally:
        torch.set_float32_matmul_precision("highest")
