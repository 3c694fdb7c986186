"""Sequences of unequal lengths, flat as our models take them and padded as others do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pretrain.batch import MicroBatch

Padded = tuple[Tensor, Tensor, Tensor]
"""ids, mask and segments, each int64 (sequences, longest)"""


def random_sequences(lengths: Sequence[int], vocabulary: int, seed: int = 0) -> list[list[int]]:
    """Random ids from 5 on, so that none is padding or the like."""
    rng = np.random.default_rng(seed)
    return [rng.integers(5, vocabulary, length).tolist() for length in lengths]


def halves(sequences: list[list[int]]) -> list[list[int]]:
    """Segments: the second half of each sequence is B."""
    return [[int(2 * place >= len(ids)) for place in range(len(ids))] for ids in sequences]


def flat(sequences: list[list[int]], segments: list[list[int]]) -> MicroBatch:
    """Sequences end to end, nothing to predict."""
    lengths = [len(ids) for ids in sequences]
    none = torch.zeros(0, dtype=torch.int64)
    return MicroBatch(
        tokens_T=torch.tensor([token for ids in sequences for token in ids]),
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        segments_T=torch.tensor([segment for row in segments for segment in row]),
        boundaries=torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32),
        longest=max(lengths),
        predicted_M=none,
        labels_M=none,
        next_sentence_B=none,
    )


def padded(sequences: list[list[int]], segments: list[list[int]], pad: int) -> Padded:
    """The same with `pad` at the right."""
    ids = pad_sequence([torch.tensor(row) for row in sequences], True, pad)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.int64) for row in sequences], True)
    return ids, mask, pad_sequence([torch.tensor(row) for row in segments], True)
