"""Rotary position embeddings (Su et al. 2021, RoFormer, section 3.2.2).

Dimensions i and i + K/2 of a query or key are one plane, turned by position x theta^(-2i / K); the
score of two tokens then depends on their distance alone. The pairing is GPT-NeoX's and
ModernBERT's: RoFormer's own, of neighbours, is the same but for the order of the dimensions.

Axes: T tokens, R rows (T rounded up), H heads, K head size; 3 for query, key, value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pretrain.model.autograd import Context, Function

ROWS_CPU = 128
"""turned at a time: what the cache holds from one pass to the next"""


def angles(places: Tensor, theta: float, head_size: int, dtype: torch.dtype) -> Tensor:
    """(..., K / 2) for places (...): how far each plane is turned, in radians.

    Args:
        dtype: float64 is computed in float64, all others in float32, as in transformers: 16 bits
            cannot tell neighbouring places apart from 256 on.
    """
    wide = torch.promote_types(dtype, torch.float32)
    exponents = torch.arange(0, head_size, 2, device=places.device).to(wide) / head_size
    return places[..., None].to(wide) * (1 / theta**exponents)


def turned(parts: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Both halves of queries or keys (..., K) after the turn, (..., K / 2) each."""
    first, second = parts.chunk(2, -1)
    return first * cosine - second * sine, second * cosine + first * sine


class Rotate(Function):
    """Queries and keys (R, 3, H, K) turned, values as they are: one pass each, nothing kept.

    The backward pass turns back. `cosine` and `sine` are (R, 1, 1, K / 2) in float32 or wider,
    which is what the turn is computed in.
    """

    @staticmethod
    def forward(ctx: Context, qkv_R3HK: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """The same shape and dtype."""
        ctx.save_for_backward(cosine, sine)
        return _rotate(qkv_R3HK, cosine, sine)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of queries, keys and values."""
        cosine, sine = ctx.saved_tensors
        return _rotate(gradient, cosine, -sine), None, None


def _rotate(qkv_R3HK: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    if qkv_R3HK.device.type == "cpu" and not torch.compiler.is_compiling():
        return _rotated_in_cache(qkv_R3HK, cosine, sine)
    turned_R2HK = torch.cat(turned(qkv_R3HK[:, :2].to(cosine.dtype), cosine, sine), -1)
    return torch.cat((turned_R2HK.to(qkv_R3HK.dtype), qkv_R3HK[:, 2:]), 1)


def _rotated_in_cache(qkv_R3HK: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    rotated = torch.empty_like(qkv_R3HK, memory_format=torch.contiguous_format)
    rotated[:, 2] = qkv_R3HK[:, 2]
    parts = (x.split(ROWS_CPU) for x in (rotated, qkv_R3HK, cosine, sine))
    for target_R3HK, part_R3HK, cosine_R, sine_R in zip(*parts):
        wide_R2HK = part_R3HK[:, :2].to(cosine.dtype)
        first, second = wide_R2HK.chunk(2, -1)
        turned_R2HK = torch.empty_like(wide_R2HK)
        new_first, new_second = turned_R2HK.chunk(2, -1)
        torch.mul(first, cosine_R, out=new_first).addcmul_(second, sine_R, value=-1)
        torch.mul(second, cosine_R, out=new_second).addcmul_(first, sine_R)
        target_R3HK[:, :2] = turned_R2HK
    return rotated
