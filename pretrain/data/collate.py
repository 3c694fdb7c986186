"""Samples to flat, masked micro-batches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.formats import SampleIndex, build_index
from pretrain.data.masking import Vocabulary, mask_tokens
from pretrain.data.store import TokenStore, ranges
from pretrain.randomness import Purpose, keys_64


class Collator:
    """Gathers, frames and masks samples of one split."""

    def __init__(self, store: TokenStore, config: PretrainConfig, vocabulary: Vocabulary) -> None:
        self.store, self.config, self.vocabulary = store, config, vocabulary
        self._index = lru_cache(maxsize=2)(lambda cut: build_index(store, config, cut))

    def index(self, epoch: int) -> SampleIndex:
        """The samples of an epoch."""
        return self._index(_modulo(epoch, self.config.sample_epochs))

    def __call__(self, samples: np.ndarray, epoch: int, step: int) -> MicroBatch:
        """The given samples of `epoch` end to end; `step` keys their dropout."""
        index, seed = self.index(epoch), self.config.seed
        lengths_B = index.lengths_of(samples)
        tokens_T, segments_T, framed_T = self._gather(index, samples)
        mask_epoch = _modulo(epoch, self.config.mask_epochs)
        masked = mask_tokens(
            tokens_T,
            lengths_B,
            ~framed_T,
            samples,
            mask_epoch,
            self.config.masking,
            self.vocabulary,
            seed,
        )
        boundaries = np.concatenate([[0], np.cumsum(lengths_B)])
        positions_T = np.arange(len(tokens_T)) - np.repeat(boundaries[:-1], lengths_B)
        return MicroBatch(
            tokens_T=torch.from_numpy(masked.tokens_T),
            positions_T=torch.from_numpy(positions_T),
            segments_T=torch.from_numpy(segments_T),
            boundaries=torch.from_numpy(boundaries.astype(np.int32)),
            longest=int(lengths_B.max()),
            predicted_M=torch.from_numpy(masked.predicted_M),
            labels_M=torch.from_numpy(masked.labels_M),
            next_sentence_B=torch.from_numpy(index.next_sentence[samples].astype(np.int64)),
            sample_ids=tuple(samples.tolist()),
            dropout_keys=tuple(keys_64(seed, Purpose.DROPOUT, step, samples).tolist()),
        )

    def _gather(self, index: SampleIndex, samples: np.ndarray) -> tuple[np.ndarray, ...]:
        """Flat ids, segments (0 or 1), and where [CLS] and [SEP] stand; each (T,)."""
        first, last = index.offsets[samples], index.offsets[samples + 1]
        spans, owner = ranges(first, last), np.repeat(np.arange(len(samples)), last - first)
        starts, ends = index.starts[spans], index.ends[spans]
        framed_ends = np.cumsum(ends - starts + 1)  # a separator after each span
        total = framed_ends[-1] + len(samples)
        sep_at = framed_ends + owner
        cls_at = np.concatenate([[0], sep_at[np.flatnonzero(np.diff(owner))] + 1])
        framed_T = np.zeros(total, bool)
        framed_T[cls_at] = framed_T[sep_at] = True
        tokens_T = np.empty(total, np.int64)
        tokens_T[cls_at], tokens_T[sep_at] = self.vocabulary.cls_id, self.vocabulary.sep_id
        tokens_T[~framed_T] = self.store.gather(starts, ends)
        segments_T = np.zeros(total, np.int64)
        if index.is_pair:
            segments_T[np.delete(np.arange(total), cls_at)] = np.repeat(
                spans - first[owner], ends - starts + 1
            )
        return tokens_T, segments_T, framed_T


def _modulo(epoch: int, period: int | None) -> int:
    return epoch if period is None else epoch % period
