"""How much arithmetic a step needs, and how much the device can do: the two halves of MFU.

Model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B) = useful FLOPs / (time x peak).
Useful are those of real tokens and predicted positions: neither padding nor recomputation counts.
The peak is measured, not taken from a data sheet, so that it means the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import torch

from configs.schema import ModelConfig
from pretrain.batch import MicroBatch
from pretrain.model.pretraining import PretrainingModel
from pretrain.model.scope import scopes_of, seen_pairs

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def flops_per_step(
    config: ModelConfig,
    vocabulary_size: int,
    lengths: Sequence[int] | np.ndarray,
    predicted: int,
    next_sentence: bool = False,
    documents: Sequence[int] | np.ndarray | None = None,
) -> int:
    """Useful FLOPs of the matrix products, forward and backward, for the given sequences.

    A product of (m, k) and (k, n) is 2mkn FLOPs. With hidden size H, feed-forward size F and
    vocabulary V, the forward pass needs
        per token and layer: 2 (3HH + HH + 2HF) for query, key, value, output and feed-forward, 3HF
        where the latter is gated; in the last layer output and feed-forward of those tokens alone
        that a head reads;
        per layer and pair of tokens that see each other, nn in a sequence of n: 2H for Q K^T and 2H
        for the weighted sum;
        per predicted token: 2 (HH + HV) for the MLM head;
        per sequence with NSP: 2 (HH + 2H).
    The backward pass needs twice as much: one product for each of the two factors.

    Args:
        lengths: tokens of each sequence.
        predicted: predicted tokens, all sequences together.
        documents: tokens of each document, where attention ends with it.
    """
    width, inner = config.hidden_size, config.feed_forward_size
    lengths = np.asarray(lengths, np.int64)
    tokens, needed = int(lengths.sum()), predicted + next_sentence * len(lengths)
    matrices = 3 if config.is_gated else 2
    before, after = 2 * 3 * width * width, 2 * (width * width + matrices * width * inner)
    attended = lengths if documents is None else np.asarray(documents, np.int64)
    pairs = sum(seen_pairs(attended, scope.reach) for scope in scopes_of(config))
    forward = config.layers * before * tokens + 4 * width * pairs
    forward += after * ((config.layers - 1) * tokens + needed)
    forward += 2 * (width * width + width * vocabulary_size) * predicted
    forward += next_sentence * 2 * (width * width + 2 * width) * len(lengths)
    return 3 * forward


def training_flops(model: PretrainingModel, batch: MicroBatch) -> int:
    """`flops_per_step` of one micro-batch, which should still be on the host."""
    lengths, predicted = batch.boundaries.diff().numpy(), len(batch.labels_M)
    vocabulary_size = model.encoder.embeddings.word.num_embeddings
    documents = None if batch.documents is None else batch.documents.diff().numpy()
    return flops_per_step(
        model.config, vocabulary_size, lengths, predicted, model.next_sentence, documents
    )


def matmul_peak(device: torch.device, precision: str, seconds: float = 0.3) -> float:
    """FLOP/s of a large matrix product on `device`, measured for about `seconds`.

    On a CPU that is with the number of threads torch uses at the moment.

    Args:
        precision: `fp32`, `tf32` or `bf16`.
    """
    before = torch.get_float32_matmul_precision()
    choose_products(precision)
    try:
        return _matmul_peak(device, DTYPES[precision], seconds)
    finally:
        torch.set_float32_matmul_precision(before)


def choose_products(precision: str) -> None:
    """Let products of fp32 on a GPU be made by tensor cores in TF32, or exactly for all others."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def _matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    size = 1024 if device.type == "cpu" else 8192
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    few = a[: size // 16]
    seconds_per_product(few, b, repeats=1)
    if seconds_per_product(few, b, repeats=1) * 16 > seconds:
        a = few  # a type that this processor only emulates: no need to wait for a whole product
    seconds_per_product(a, b, repeats=2)
    # On a CPU one by one: other work disturbs several in a row, but not each.
    repeats = 1 if device.type == "cpu" else 4
    best, end = float("inf"), perf_counter() + seconds
    while perf_counter() < end:
        best = min(best, seconds_per_product(a, b, repeats))
    return 2 * len(a) * size**2 / best


def seconds_per_product(a: torch.Tensor, b: torch.Tensor, repeats: int) -> float:
    """Of a (m, k) and b (k, n), the mean of `repeats` products in a row."""
    start = perf_counter()
    for _ in range(repeats):
        product = a @ b
    # Waits for the device.
    product[0, 0].item()
    return (perf_counter() - start) / repeats
