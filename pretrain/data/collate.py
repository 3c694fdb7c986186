"""Samples to flat, masked micro-batches.

Three samples of FULL-SENTENCES, the second of two spans, become one row of tokens:

    tokens     [CLS] a a a a [SEP] [CLS] b b [SEP] c [SEP] [CLS] d d [SEP]
    positions      0 1 2 3 4     5     0 1 2     3 4     5     0 1 2     3
    boundaries     0                   6                      12            16
    documents      0                   6          10          12            16

The last are there with `document_attention` only: a separator is of the document that it ends, and
[CLS] of the first one in its sample. Positions count on through the documents of a sample.

Axes: T tokens, B samples, S spans.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from configs.schema import ResolvedPretrainConfig
from pretrain.arrays import Flags, Ints
from pretrain.batch import MicroBatch
from pretrain.data.formats import build_index
from pretrain.data.masking import Masked, Masker, Sequences, Vocabulary
from pretrain.data.sample_index import SampleIndex, Samples
from pretrain.data.store import TokenStore
from pretrain.randomness import Purpose, keys_64


class Collator:
    """Gathers, frames and masks samples of one split."""

    def __init__(
        self, store: TokenStore, config: ResolvedPretrainConfig, vocabulary: Vocabulary
    ) -> None:
        self.store, self.config, self.vocabulary = store, config, vocabulary
        self.masker = Masker(config.masking, vocabulary, config.seed)
        # Two, since the next step is made while this one trains, and it may be of the next epoch.
        self._index = lru_cache(maxsize=2)(lambda cut: build_index(store, config, cut))

    def index(self, epoch: int) -> SampleIndex:
        """The samples of an epoch."""
        return self._index(_modulo(epoch, self.config.sample_epochs))

    def __call__(
        self, samples: Ints, epoch: int, step: int, probability: float | None = None
    ) -> MicroBatch:
        """The given samples of `epoch` end to end.

        Args:
            step: keys their dropout.
            probability: share of tokens to predict; None: the configuration's.
        """
        taken = self.index(epoch).take(samples)
        lengths_B = taken.lengths
        tokens_T, segments_T, framed_T = self._gather(taken)
        # Static masking is nothing else: the same draws come again every `mask_epochs` epochs.
        mask_epoch = _modulo(epoch, self.config.mask_epochs)
        sequences = Sequences(tokens_T, lengths_B, ~framed_T, samples)
        masked = self._mask(sequences, mask_epoch, probability)
        boundaries = np.concatenate([[0], np.cumsum(lengths_B)])
        positions_T = np.arange(len(tokens_T)) - np.repeat(boundaries[:-1], lengths_B)
        dropout_keys = keys_64(self.config.seed, Purpose.DROPOUT, step, samples)
        documents = self._documents(taken)
        return MicroBatch(
            tokens_T=torch.from_numpy(masked.tokens_T),
            positions_T=torch.from_numpy(positions_T),
            segments_T=None if segments_T is None else torch.from_numpy(segments_T),
            boundaries=torch.from_numpy(boundaries.astype(np.int32)),
            longest=int(lengths_B.max()),
            predicted_M=torch.from_numpy(masked.predicted_M),
            labels_M=torch.from_numpy(masked.labels_M),
            next_sentence_B=torch.from_numpy(taken.next_sentence.astype(np.int64)),
            sample_ids=tuple(samples.tolist()),
            dropout_keys=tuple(dropout_keys.tolist()),
            documents=None if documents is None else torch.from_numpy(documents.astype(np.int32)),
            longest_document=0 if documents is None else int(np.diff(documents).max()),
        )

    def _documents(self, taken: Samples) -> Ints | None:
        """Where the documents of some samples start, and the end: (A + 1,).

        None where tokens see their whole sequence, or each sequence is of one document anyway.
        """
        if not self.config.document_attention:
            return None
        if len(taken) == len(taken.starts):
            return None
        return np.concatenate([[0], np.cumsum(_framed_lengths(taken))])

    def with_sources(self, batch: MicroBatch) -> MicroBatch:
        """A micro-batch of the first epoch with the source of each token that is predicted, where
        the store tells several apart."""
        taken = self.index(0).take(np.asarray(batch.sample_ids))
        # A span is of one document, and so of one source.
        sources_S = self.store.sources_of(taken.starts)
        if self.store.sources is None or sources_S is None:
            return batch
        sources_T = torch.from_numpy(np.repeat(sources_S, _framed_lengths(taken)))
        return replace(
            batch,
            sources_M=sources_T[batch.predicted_M],
            source_count=len(self.store.sources.names),
        )

    def _mask(self, sequences: Sequences, epoch: int, probability: float | None) -> Masked:
        """The gathered samples with the masks of an epoch."""
        return self.masker.mask(sequences, epoch, probability)

    def _gather(self, taken: Samples) -> tuple[Ints, Ints | None, Flags]:
        """Flat ids, segments (0 or 1) where they differ and are looked up, and where [CLS] and
        [SEP] stand; each (T,)."""
        starts_S, ends_S = taken.starts, taken.ends
        owner_S = np.repeat(np.arange(len(taken)), np.diff(taken.offsets))
        # A separator follows each span, so that it stands where the spans up to its own end, plus
        # the separators before it, plus one [CLS] for every sample up to its own.
        framed_ends_S = np.cumsum(ends_S - starts_S + 1)
        total = int(framed_ends_S[-1]) + len(taken)
        sep_at_S = framed_ends_S + owner_S
        # [CLS] stands at the beginning, and behind the last separator of every sample but the last.
        cls_at_B = np.concatenate([[0], sep_at_S[np.flatnonzero(np.diff(owner_S))] + 1])
        framed_T = np.zeros(total, bool)
        framed_T[cls_at_B] = framed_T[sep_at_S] = True
        tokens_T = np.empty(total, np.int64)
        tokens_T[cls_at_B], tokens_T[sep_at_S] = self.vocabulary.cls_id, self.vocabulary.sep_id
        tokens_T[~framed_T] = self.store.gather(starts_S, ends_S)
        segments_T = None
        if taken.is_pair and self.config.model.segment_types > 1:
            # A span with its separator is of the segment that it is in its pair; [CLS] is of the
            # first, as in BERT.
            segments_T = np.zeros(total, np.int64)
            numbers_S = np.arange(len(starts_S)) - taken.offsets[owner_S]
            segments_T[np.delete(np.arange(total), cls_at_B)] = np.repeat(
                numbers_S, ends_S - starts_S + 1
            )
        return tokens_T, segments_T, framed_T


def _framed_lengths(taken: Samples) -> Ints:
    """Tokens of each span: a separator is of the span that it ends, and [CLS] of the first in its
    sample; (S,)."""
    lengths_S = taken.ends - taken.starts + 1
    lengths_S[taken.offsets[:-1]] += 1  # [CLS]
    return lengths_S


def _modulo(epoch: int, period: int | None) -> int:
    return epoch if period is None else epoch % period
