"""Samples to flat, masked micro-batches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.formats import SampleIndex, build_index
from pretrain.data.masking import Vocabulary, mask_tokens
from pretrain.data.store import TokenStore
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
        cls, sep = [self.vocabulary.cls_id], [self.vocabulary.sep_id]
        pieces, segments = [], []
        for sample in samples:
            pieces.append(cls)
            segments.append(0)
            for number, span in enumerate(range(index.offsets[sample], index.offsets[sample + 1])):
                pieces += [self.store.tokens(index.starts[span], index.ends[span]), sep]
                segments += [number if index.is_pair else 0] * 2
        lengths = [len(piece) for piece in pieces]
        is_frame = [piece is cls or piece is sep for piece in pieces]
        tokens_T = np.concatenate(pieces).astype(np.int64)
        return tokens_T, np.repeat(segments, lengths), np.repeat(is_frame, lengths)


def _modulo(epoch: int, period: int | None) -> int:
    return epoch if period is None else epoch % period
