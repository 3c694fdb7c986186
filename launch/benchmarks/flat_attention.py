"""Attention for transformers' models over sequences that lie end to end in one row.

transformers itself takes the bounds of sequences only with the flash_attn package, or with a kernel
fetched from the hub. Torch holds the same kernel, and it is ours as well: a race is decided by the
rest. Where it does not run (CPUs, fp32) sequences are padded within attention alone, for SDPA.

Axes: T tokens, B sequences, H heads, K head size, L padded length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def flat_attention(
    module: torch.nn.Module,  # noqa: ARG001 (transformers' protocol)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 (transformers' protocol)
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """What `transformers.AttentionInterface` calls in each layer.

    Args:
        query: as `key` and `value` (1, H, T, K).
        cu_seq_lens_q: int32 (B + 1), where each sequence starts, and the end.
        max_length_q: of no sequence exceeded.
        sliding_window: how far a token sees to either side, and one more; None: everything.
    Returns:
        (1, T, H, K), and no probabilities.
    """
    flat = [x[0].transpose(0, 1) for x in (query, key, value)]
    reach = None if sliding_window is None else sliding_window - 1
    has_kernel = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
    compute = _flash if has_kernel else _padded
    return compute(flat, cu_seq_lens_q, max_length_q, dropout, scaling, reach)[None], None


def _flash(
    flat: list[Tensor], bounds: Tensor, longest: int, rate: float, scale: float, reach: int | None
) -> Tensor:
    windows = {} if reach is None else {"window_size_left": reach, "window_size_right": reach}
    context, *_ = torch.ops.aten._flash_attention_forward(
        *flat, bounds, bounds, longest, longest, rate, False, False, scale=scale, **windows
    )
    own: Tensor = context
    return own


def _padded(
    flat: list[Tensor], bounds: Tensor, longest: int, rate: float, scale: float, reach: int | None
) -> Tensor:
    (tokens, *_), sequences = flat[0].shape, len(bounds) - 1
    places_L = torch.arange(longest, device=bounds.device)
    slots_T, mask = None, None
    if sequences * longest != tokens:
        lengths_B = bounds.diff()
        is_token_BL = places_L < lengths_B[:, None]
        # Padding sees padding: a row that sees nothing would have no softmax.
        mask = is_token_BL[:, None, :, None] == is_token_BL[:, None, None, :]
        shifts_B = torch.arange(sequences, device=bounds.device) * longest - bounds[:-1]
        shifts_T = shifts_B.repeat_interleave(lengths_B, output_size=tokens)
        slots_T = torch.arange(tokens, device=bounds.device) + shifts_T
    if reach is not None:
        near_LL = (places_L - places_L[:, None]).abs() <= reach
        mask = near_LL if mask is None else mask & near_LL
    query, key, value = (_rows(x_THK, slots_T, sequences, longest) for x_THK in flat)
    context_BHLK = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=rate, scale=scale
    )
    own: Tensor = context_BHLK.transpose(1, 2).flatten(0, 1)
    return own if slots_T is None else own.index_select(0, slots_T)


def _rows(flat_THK: Tensor, slots_T: Tensor | None, sequences: int, longest: int) -> Tensor:
    """(B, H, L, K): each sequence padded."""
    if slots_T is not None:
        slots = flat_THK.new_zeros(sequences * longest, *flat_THK.shape[1:])
        flat_THK = slots.index_copy(0, slots_T, flat_THK)
    rows_BLHK: Tensor = flat_THK.unflatten(0, (sequences, longest))
    return rows_BLHK.transpose(1, 2)
