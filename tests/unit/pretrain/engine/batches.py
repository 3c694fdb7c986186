"""Micro-batches of letters, for tests that look at text."""

from __future__ import annotations

import numpy as np
import torch

from pretrain.batch import MicroBatch


class LetterTokenizer:
    """The part of a tokenizer that turns ids into text: each id is a character's code."""

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def letter_batch(*texts: str) -> MicroBatch:
    """A micro-batch of one sequence for each text."""
    lengths = [len(text) for text in texts]
    tokens = torch.tensor([ord(letter) for text in texts for letter in text])
    return MicroBatch(
        tokens_T=tokens,
        positions_T=torch.cat([torch.arange(n) for n in lengths]),
        segments_T=torch.zeros_like(tokens),
        boundaries=torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)),
        longest=max(lengths),
        predicted_M=torch.zeros(1, dtype=torch.int64),
        labels_M=tokens[:1],
        next_sentence_B=torch.full((len(texts),), -100),
        sample_ids=tuple(range(len(texts))),
        dropout_keys=tuple(range(len(texts))),
    )
