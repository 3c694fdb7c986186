"""Self-attention within each sequence of a flat micro-batch, behind one function.

Backends:
    eager: matmul, softmax, matmul on the padded layout; the reference.
    sdpa: `scaled_dot_product_attention` on the same layout.
    flash: no padding anywhere; CUDA and 16-bit only.

What a token sees (windows, documents, ALiBi) is a bias of the scores in the first two; windows much
shorter than the sequence are computed block by block, without dropout. Flash kernels take documents
as sequences, and windows as a number; they take no ALiBi: the gradients of a bias are none of
theirs.

Axes: T tokens, R rows (T rounded up), B sequences, H heads, K head size, L padded length; 3 for
query, key, value.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from configs.errors import InputError
from pretrain.model.dropout import AttentionDropout
from pretrain.model.packing import Packing
from pretrain.model.scope import (
    WHOLE,
    Blocks,
    Scope,
    in_blocks,
    out_of_blocks,
    score_bias,
    with_neighbours,
)

LONGEST_EAGER = 512
"""on a CPU in bfloat16 plain matmul-softmax beats SDPA up to this many tokens (measured)"""


def choose_backend(
    requested: str,
    device: torch.device,
    dtype: torch.dtype,
    longest: int,
    rate: float,
    scopes: Iterable[Scope] = (WHOLE,),
) -> str:
    """The backend that computes attention: `eager`, `sdpa` or `flash`.

    Args:
        requested: `model.attention` of the configuration.
        dtype: what the matrix products run in.
        longest: the most tokens a sequence can have.
        rate: dropout of the attention probabilities, 0 in evaluation.
        scopes: what the layers see.
    Raises:
        InputError: the requested backend cannot do that.
    """
    on_cuda, is_16_bit = device.type == "cuda", dtype in (torch.bfloat16, torch.float16)
    if requested == "auto":
        if on_cuda:
            can_flash = is_16_bit and not any(map(flash_lacks, scopes))
            return "flash" if can_flash else "sdpa"
        # Only eager attention can apply the masks of law 1.
        return "eager" if longest <= LONGEST_EAGER or rate else "sdpa"
    if requested == "flash" and not (on_cuda and is_16_bit):
        raise InputError(
            f"model.attention=flash runs in 16 bits on CUDA, not in {dtype} on {device.type}: "
            "choose auto, or engine.precision=bf16 on a GPU"
        )
    lacking = [what for scope in scopes if (what := flash_lacks(scope))]
    if requested == "flash" and lacking:
        raise InputError(f"model.attention=flash: {lacking[0]}: choose auto or sdpa")
    if requested == "sdpa" and rate and not on_cuda:
        raise InputError(
            f"model.attention=sdpa cannot drop attention probabilities on {device.type}: "
            "choose auto, or model.attention_dropout=0"
        )
    return requested


def flash_lacks(scope: Scope) -> str | None:
    """Why torch's flash kernel does not compute this; None: it does."""
    if scope.alibi:
        return "its kernels take no model.position=alibi"
    if scope.reach is not None and not _takes_windows():
        return "this torch's kernel takes no model.attention_window"
    return None


def attend(
    qkv_R3HK: Tensor,
    packing: Packing,
    backend: str,
    dropout: AttentionDropout,
    scope: Scope = WHOLE,
) -> Tensor:
    """softmax(Q K^T / sqrt(K)) V for each sequence and head (Vaswani et al. 2017, section 3.2.1).

    Args:
        qkv_R3HK: queries, keys and values of all tokens.
        backend: `eager`, `sdpa` or `flash`, see `choose_backend`.
        dropout: of the probabilities.
        scope: what tokens see of their sequence; of it they see their own document alone where the
            packing has documents.
    Returns:
        (R, H, K), the dtype of the input; anything finite in rows of no token.
    """
    if backend == "flash":
        return _flash(qkv_R3HK, packing, dropout.rate, scope)
    qkv_3BHLK = packing.split_heads(qkv_R3HK)
    if scope.is_whole and packing.documents is None:
        compute = _eager if backend == "eager" else _sdpa
        context_BHLK = compute(qkv_3BHLK, packing, dropout)
    else:
        context_BHLK = _biased(qkv_3BHLK, packing, backend, dropout, scope)
    return packing.join_heads(context_BHLK)


def _eager(qkv_3BHLK: Tensor, packing: Packing, dropout: AttentionDropout) -> Tensor:
    query_BHLK, key_BHLK, value_BHLK = qkv_3BHLK.unbind()
    bias = None
    if not packing.is_uniform:
        bias = packing.score_bias_BL.to(query_BHLK.dtype)
        bias = bias.repeat_interleave(query_BHLK.shape[1], 0)[:, None]
    scores = _scores(query_BHLK, key_BHLK, bias)
    # The kernel exponentiates and sums in float32 whatever the dtype. Keeping scores and
    # probabilities in float32 as well left the bfloat16 error of 4 layers as it was (measured).
    probabilities, factor = dropout.drop(scores.softmax(-1), packing)
    return (probabilities @ value_BHLK) * factor


def _scores(query_BHLK: Tensor, key_BHLK: Tensor, bias: Tensor | None = None) -> Tensor:
    """Q K^T / sqrt(K), and a bias of (B H, 1, L) on top."""
    width = query_BHLK.shape[-1]
    # Scale and bias within the product: two passes less, and no scaled queries to keep.
    scores: Tensor = torch.baddbmm(
        query_BHLK.new_zeros(1, 1, 1) if bias is None else bias,
        query_BHLK.flatten(0, 1),
        key_BHLK.flatten(0, 1).transpose(1, 2),
        beta=0 if bias is None else 1,
        alpha=width**-0.5,
    )
    unflat: Tensor = scores.unflatten(0, query_BHLK.shape[:2])
    return unflat


def _sdpa(qkv_3BHLK: Tensor, packing: Packing, dropout: AttentionDropout) -> Tensor:
    query_BHLK, key_BHLK, value_BHLK = qkv_3BHLK.unbind()
    mask = None if packing.is_uniform else packing.is_token_BL[:, None, None]
    return F.scaled_dot_product_attention(
        query_BHLK, key_BHLK, value_BHLK, attn_mask=mask, dropout_p=dropout.rate
    )


def _biased(
    qkv_3BHLK: Tensor, packing: Packing, backend: str, dropout: AttentionDropout, scope: Scope
) -> Tensor:
    """(B, H, L, K), where not everything is seen alike."""
    sequences, heads, longest = qkv_3BHLK.shape[1:4]
    # What dropout drops is drawn for all pairs (law 1): no block without the others.
    blocks = Blocks.one(longest) if dropout.rate else Blocks.of(scope, longest)
    query, key, value = qkv_3BHLK.unbind()
    if blocks.is_banded:
        query = in_blocks(query, blocks)
        key, value = with_neighbours(key, blocks), with_neighbours(value, blocks)
    bias = score_bias(scope, packing, heads, blocks, query)
    if backend == "sdpa":
        context = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, dropout_p=dropout.rate
        )
    else:
        # In place: a bias of all heads within the product would be copied for each layer.
        scores = _scores(query, key).add_(bias)
        probabilities, factor = dropout.drop(scores.softmax(-1), packing)
        context = (probabilities @ value) * factor
    return out_of_blocks(context, sequences, longest) if blocks.is_banded else context


def _flash(qkv_R3HK: Tensor, packing: Packing, rate: float, scope: Scope) -> Tensor:
    """FlashAttention-2 over sequences of any lengths (Dao 2023), as torch itself holds it.

    Torch's public doors to this kernel have no dropout (`torch.nn.attention.varlen`) or cost the
    host milliseconds a layer (nested tensors).
    """
    size = qkv_R3HK.shape[-1]
    if size % 8:  # the kernel reads 16 bytes at once; zeros change no score, and are cut off again
        qkv_R3HK = F.pad(qkv_R3HK, (0, -size % 8))
    query, key, value = qkv_R3HK.unbind(1)
    bounds, longest = packing.attended, packing.longest_attended
    windows = {}
    if scope.reach is not None:
        windows = {"window_size_left": scope.reach, "window_size_right": scope.reach}
    context, *_ = torch.ops.aten._flash_attention_forward(
        *(query, key, value, bounds, bounds, longest, longest, rate, False, False),
        scale=size**-0.5,
        **windows,
    )
    own: Tensor = context[..., :size]
    return own


@cache
def _takes_windows() -> bool:
    """Not in every torch."""
    schema = torch.ops.aten._flash_attention_forward.default._schema
    return "window_size_left" in {argument.name for argument in schema.arguments}
