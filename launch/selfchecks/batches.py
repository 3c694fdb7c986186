"""Sequences of given lengths, as the model gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pretrain.batch import MicroBatch
from pretrain.model.packing import Packing


def packing_of(
    lengths: Sequence[int],
    device: torch.device,
    documents: Sequence[Sequence[int]] | None = None,
    key: int = 0,
) -> Packing:
    """How sequences lie end to end.

    Args:
        documents: lengths of the documents of each.
        key: the first sequence's dropout key; the others follow it.
    """
    parts = [] if documents is None else [length for row in documents for length in row]
    return Packing(
        boundaries=bounds(lengths).to(device),
        positions_T=torch.cat([torch.arange(length) for length in lengths]).to(device),
        longest=max(lengths),
        dropout_keys=tuple(range(key, key + len(lengths))),
        documents=bounds(parts).to(device) if parts else None,
        longest_document=max(parts, default=0),
    )


def bounds(lengths: Sequence[int]) -> Tensor:
    """int32 (B + 1): where each begins, and the end."""
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


def zipf(size: int, vocabulary: int, seed: int) -> Tensor:
    """int64 (size,): words as frequent as in text, the nth of them 1/n as often as the first."""
    weights = 1.0 / np.arange(1, vocabulary + 1)
    drawn = np.random.default_rng(seed).choice(vocabulary, size, p=weights / weights.sum())
    return torch.from_numpy(drawn)


def short_lengths(tokens: int, longest: int) -> list[int]:
    """Lengths of messages, half of them of 20 to 80 tokens, that are so many tokens together."""
    generator, lengths = np.random.default_rng(0), list[int]()
    while (left := tokens - sum(lengths)) > 0:
        length = int(generator.lognormal(np.log(40), 1.0))
        lengths.append(min(max(length, 3), longest, left))
    return lengths


def cut(batch: MicroBatch, lengths: Sequence[int]) -> MicroBatch:
    """The same tokens as sequences of these lengths, which are all tokens together."""
    number = len(lengths)
    return replace(
        batch,
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        boundaries=bounds(lengths),
        longest=max(lengths),
        next_sentence_B=torch.full((number,), -100),
        sample_ids=tuple(range(number)),
        dropout_keys=tuple(range(number)),
    )
