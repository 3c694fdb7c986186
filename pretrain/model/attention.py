"""Self-attention within each sequence of a flat micro-batch, behind one function.

Backends:
    eager: matmul, softmax, matmul on the padded layout; the reference.
    sdpa: `scaled_dot_product_attention` on the same layout.
    flash: no padding anywhere; CUDA and 16-bit only.

Axes: T tokens, R rows (T rounded up), B sequences, H heads, K head size, L longest sequence; 3 for
query, key, value.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

from configs.errors import InputError
from pretrain.model.dropout import AttentionDropout
from pretrain.model.packing import Packing

LONGEST_EAGER = 512
"""on a CPU in bfloat16 plain matmul-softmax beats SDPA up to this many tokens (measured)"""


def choose_backend(
    requested: str, device: torch.device, dtype: torch.dtype, longest: int, rate: float
) -> str:
    """The backend that computes attention: `eager`, `sdpa` or `flash`.

    Args:
        requested: `model.attention` of the configuration.
        dtype: what the matrix products run in.
        longest: the most tokens a sequence can have.
        rate: dropout of the attention probabilities, 0 in evaluation.
    Raises:
        InputError: the requested backend cannot do that.
    """
    on_cuda, is_16_bit = device.type == "cuda", dtype in (torch.bfloat16, torch.float16)
    if requested == "auto":
        if on_cuda:
            return "flash" if is_16_bit else "sdpa"
        # Only eager attention can apply the masks of law 1.
        return "eager" if longest <= LONGEST_EAGER or rate else "sdpa"
    if requested == "flash" and not (on_cuda and is_16_bit):
        raise InputError(
            f"model.attention=flash runs in 16 bits on CUDA, not in {dtype} on {device.type}: "
            "choose auto, or engine.precision=bf16 on a GPU"
        )
    if requested == "sdpa" and rate and not on_cuda:
        raise InputError(
            f"model.attention=sdpa cannot drop attention probabilities on {device.type}: "
            "choose auto, or model.attention_dropout=0"
        )
    return requested


def attend(qkv_R3HK: Tensor, packing: Packing, backend: str, dropout: AttentionDropout) -> Tensor:
    """softmax(Q K^T / sqrt(K)) V for each sequence and head (Vaswani et al. 2017, section 3.2.1).

    Args:
        qkv_R3HK: queries, keys and values of all tokens.
        backend: `eager`, `sdpa` or `flash`, see `choose_backend`.
        dropout: of the probabilities.
    Returns:
        (R, H, K), the dtype of the input; zero in rows of no token.
    """
    if backend == "flash":
        return packing.fill(_flash(qkv_R3HK[: packing.tokens], packing, dropout.rate))
    qkv_3BHLK = packing.split_heads(qkv_R3HK)
    if backend == "eager":
        context_BHLK = _eager(qkv_3BHLK, packing, dropout)
    else:
        context_BHLK = _sdpa(qkv_3BHLK, packing, dropout.rate)
    return packing.join_heads(context_BHLK)


def _eager(qkv_3BHLK: Tensor, packing: Packing, dropout: AttentionDropout) -> Tensor:
    # Scale and bias within the product: two passes less, and no scaled queries to keep.
    query_BHLK, key_BHLK, value_BHLK = qkv_3BHLK.unbind()
    sequences, heads, _, width = query_BHLK.shape
    bias = query_BHLK.new_zeros(1, 1, 1)
    if not packing.is_uniform:
        bias = packing.score_bias_BL.to(bias.dtype).repeat_interleave(heads, 0)[:, None]
    scores: Tensor = torch.baddbmm(
        bias,
        query_BHLK.flatten(0, 1),
        key_BHLK.flatten(0, 1).transpose(1, 2),
        beta=0 if packing.is_uniform else 1,
        alpha=width**-0.5,
    ).unflatten(0, (sequences, heads))
    # The kernel exponentiates and sums in float32 whatever the dtype. Keeping scores and
    # probabilities in float32 as well left the bfloat16 error of 4 layers as it was (measured).
    probabilities, factor = dropout.drop(scores.softmax(-1), packing)
    return (probabilities @ value_BHLK) * factor


def _sdpa(qkv_3BHLK: Tensor, packing: Packing, rate: float) -> Tensor:
    query_BHLK, key_BHLK, value_BHLK = qkv_3BHLK.unbind()
    mask = None if packing.is_uniform else packing.is_token_BL[:, None, None]
    return F.scaled_dot_product_attention(
        query_BHLK, key_BHLK, value_BHLK, attn_mask=mask, dropout_p=rate
    )


def _flash(qkv_T3HK: Tensor, packing: Packing, rate: float) -> Tensor:
    if not rate and _is_installed("torch.nn.attention.varlen"):
        return _varlen(qkv_T3HK, packing)
    if _is_installed("flash_attn"):
        return _flash_attn(qkv_T3HK, packing, rate)
    return _jagged(qkv_T3HK, packing, rate)


@cache
def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _varlen(qkv_T3HK: Tensor, packing: Packing) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = qkv_T3HK.unbind(1)
    bounds, longest = packing.boundaries, packing.longest
    context = varlen_attn(query, key, value, bounds, bounds, longest, longest)
    assert isinstance(context, Tensor), "no more than that was asked for"
    return context


def _flash_attn(qkv_T3HK: Tensor, packing: Packing, rate: float) -> Tensor:
    from flash_attn import flash_attn_varlen_qkvpacked_func

    context: Tensor = flash_attn_varlen_qkvpacked_func(
        qkv_T3HK, packing.boundaries, packing.longest, dropout_p=rate
    )
    return context


def _jagged(qkv_T3HK: Tensor, packing: Packing, rate: float) -> Tensor:
    """SDPA on nested tensors: on CUDA it drops probabilities and trains."""
    bounds = packing.boundaries.long()
    query, key, value = (
        # With both limits given torch need not wait for the device to find them.
        torch.nested.nested_tensor_from_jagged(
            flat.contiguous(), bounds, min_seqlen=1, max_seqlen=packing.longest
        ).transpose(1, 2)
        for flat in qkv_T3HK.unbind(1)
    )
    context = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
    return context.transpose(1, 2).values()
