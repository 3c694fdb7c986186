"""Gates that keep their input alone have the gradient of torch's own functions."""

from __future__ import annotations

import pytest
import torch

from pretrain.model.feed_forward import activated, plainly_activated


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["gelu", "geglu", "swiglu", "relu2"])
def test_plain_functions_give_the_same(kind, dtype):
    torch.manual_seed(0)
    inner = torch.randn(7, 12).to(dtype)
    results = []
    for function in (activated, plainly_activated):
        leaf = inner.clone().requires_grad_()
        out = function(kind, leaf)
        out.backward(torch.arange(out.numel()).view_as(out).to(dtype) / 40)
        results.append((out, leaf.grad))
    for ours, plain in zip(*results):
        assert ours.dtype == dtype
        rough = 2e-2 if dtype == torch.bfloat16 else 1e-6
        torch.testing.assert_close(ours, plain, rtol=rough, atol=rough)


@pytest.mark.parametrize("kind", ["geglu", "swiglu"])
def test_the_gates_gradient_is_that_of_differences(kind):
    inner = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: activated(kind, x), inner)


@pytest.mark.parametrize("kind", ["geglu", "swiglu"])
def test_a_gate_keeps_its_input_alone(kind):
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        activated(kind, torch.randn(3, 8, requires_grad=True))
    assert kept == [24]
