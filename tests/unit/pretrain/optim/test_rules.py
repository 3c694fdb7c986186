"""What holds for every update rule."""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from configs.schema import OptimizerConfig
from pretrain.engine.engine import make_optimizer
from pretrain.model.pretraining import PretrainingModel
from tests.unit.pretrain.run.runs import tiny_config


class Reads(TorchDispatchMode):
    """Counts the numbers that leave tensors."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("rule", get_args(get_type_hints(OptimizerConfig)["name"]))
def test_an_update_reads_no_number(rule):
    """On a GPU the host would wait for it, and for all that comes before."""
    model = PretrainingModel(tiny_config(Path()).model, 40, pad_id=1, next_sentence=False)
    optimizer = make_optimizer(model, OptimizerConfig(name=rule))
    optimizer.found_inf = torch.zeros(())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with Reads() as reads:
        optimizer.step()
    assert reads.number == 0
