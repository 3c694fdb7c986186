"""Normalisation: of hidden states, and of the queries and keys of each head.

Axes: R rows, H heads, K head size; 3 for query, key, value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from configs.schema import ModelConfig
from pretrain.model.autograd import Context, Function


def make_norm(config: ModelConfig, width: int) -> nn.Module:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019) over `width` numbers.

    RMSNorm has no bias, whatever `model.bias` says.
    """
    if config.norm_kind == "rmsnorm":
        return RMSNorm(width, config.layer_norm_epsilon)
    return nn.LayerNorm(width, config.layer_norm_epsilon, bias=config.bias == "all")


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) x weight, in the type of its weights."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        x = x.to(self.weight.dtype)
        if x.device.type == "cuda":
            with torch.autocast("cuda", enabled=False):
                fused: Tensor = F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
            return fused
        if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
            return x * (x.square().mean(-1, keepdim=True) + self.epsilon).rsqrt() * self.weight
        normalised: Tensor = ScaledByRootMeanSquare.apply(x, self.weight, self.epsilon)
        return normalised

    def extra_repr(self) -> str:
        """Shown by torch between the brackets."""
        return f"{len(self.weight)}, eps={self.epsilon}"


def normed(norm: nn.Module, stream: Tensor) -> Tensor:
    """`norm(stream)`; of a 16-bit stream in its type, while the kernels still sum in float32."""
    if stream.dtype.itemsize > 2 or isinstance(norm, nn.Identity):
        wide: Tensor = norm(stream)
        return wide
    # Kernels on CUDA want the weights in the type of what they normalise; autocast would take both
    # to float32.
    assert isinstance(norm, (RMSNorm, nn.LayerNorm))
    with torch.autocast(stream.device.type, enabled=False):
        weight = norm.weight.to(stream.dtype)
        if isinstance(norm, RMSNorm):
            return F.rms_norm(stream, weight.shape, weight, norm.epsilon)
        bias = None if norm.bias is None else norm.bias.to(stream.dtype)
        return F.layer_norm(stream, weight.shape, weight, bias, norm.eps)


class ScaledByRootMeanSquare(Function):
    """RMSNorm where torch has no kernel of its own: a third faster, and it keeps less."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """x (..., D), weight (D,) -> (..., D)."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        normal: Tensor = x * scale
        return normal.mul_(weight)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of x and of the weight."""
        x, weight, scale = ctx.saved_tensors
        normal = x * scale
        of_weight = (gradient * normal).flatten(0, -2).sum(0)
        of_normal = gradient * weight
        # What would only lengthen x is taken off: the norm does not let it through.
        share = (of_normal * normal).mean(-1, keepdim=True)
        return of_normal.addcmul_(normal, share, value=-1).mul_(scale), of_weight, None


class HeadNorm(nn.Module):
    """Queries and keys normalised within each head (Henry et al. 2020), values as they are.

    The heads of a layer share the weights, of one head's size.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.query = make_norm(config, config.head_size)
        self.key = make_norm(config, config.head_size)

    def forward(self, qkv_R3HK: Tensor) -> Tensor:
        """The same shape and dtype; rows may have further axes in front."""
        query, key, value = qkv_R3HK.unbind(-3)
        # In float32 also where products are 16-bit: what is normalised decides every score.
        with torch.autocast(value.device.type, enabled=False):
            wide = torch.promote_types(value.dtype, torch.float32)
            query, key = self.query(query.to(wide)), self.key(key.to(wide))
        return torch.stack((query.to(value.dtype), key.to(value.dtype), value), -3)
