"""What flows from the data path into the model: flat, unpadded tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class MicroBatch:
    """Some sequences, laid end to end.

    Axes: T tokens, B sequences, M predicted tokens.
    """

    tokens_T: Tensor
    """int64: token ids, masking already applied"""
    positions_T: Tensor
    """int64: place inside the own sequence, from 0"""
    segments_T: Tensor
    """int64: 0 for segment A, 1 for segment B"""
    boundaries: Tensor
    """int32 (B + 1): where each sequence starts, and the end"""
    longest: int
    """length of the longest sequence"""
    predicted_M: Tensor
    """int64: which of the T tokens are predicted"""
    labels_M: Tensor
    """int64: the tokens that stood there"""
    next_sentence_B: Tensor
    """int64: 0 where segment B follows A in the corpus, 1 where it is random, -100 where the
    format has no pairs (Hugging Face's convention)"""
    sample_ids: tuple[int, ...] = ()
    """each sequence's number in the epoch"""
    dropout_keys: tuple[int, ...] = ()
    """one key a sequence, from which all its dropout is drawn"""
    documents: Tensor | None = None
    """int32 (A + 1): where each document of the sequences starts, and the end; tokens then attend
    within their own. None: within their sequence"""
    longest_document: int = 0
    """length of the longest of these"""
    sources_M: Tensor | None = None
    """int64: number of the source that each predicted token is of, where figures of each are asked
    for: of held-out text of several sources"""
    source_count: int = 0
    """how many sources there are then"""

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch on `device`, copied asynchronously."""
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)
