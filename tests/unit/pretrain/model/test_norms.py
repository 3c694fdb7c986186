"""RMSNorm without a kernel of torch's computes what torch does, gradients as well."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from pretrain.model.norms import HeadNorm, RMSNorm
from tests.unit.pretrain.model.examples import tiny


def test_rms_norm_is_torchs():
    torch.manual_seed(0)
    norm, x = RMSNorm(8, 1e-3).double(), torch.randn(5, 2, 8, dtype=torch.float64)
    torch.nn.init.normal_(norm.weight)
    results = []
    for function in (norm, lambda x: F.rms_norm(x, (8,), norm.weight, 1e-3)):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        gradients = torch.autograd.grad((out * torch.arange(8)).sum(), (leaf, norm.weight))
        results.append((out, *gradients))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


def test_a_row_of_zeros_stays_zero_with_a_finite_gradient():
    norm, x = RMSNorm(8, 1e-5), torch.zeros(2, 8, requires_grad=True)
    norm(x).sum().backward()
    assert x.grad.isfinite().all() and norm.weight.grad.isfinite().all()


def test_heads_are_normalised_in_float32_and_values_are_left_alone():
    torch.manual_seed(0)
    norm = HeadNorm(tiny(qk_norm=True, norm_kind="rmsnorm"))
    qkv = torch.randn(5, 3, 4, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(qkv)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out[:, 2], qkv[:, 2])
    expected = F.rms_norm(qkv[:, :2].float(), (8,), eps=1e-5).bfloat16()
    assert torch.equal(out[:, :2], expected)
