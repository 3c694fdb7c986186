"""Micro-batches of short texts."""

from __future__ import annotations

import torch

from configs.loader import load_config
from configs.schema import PretrainConfig
from launch.selfchecks.batches import cut, short_lengths
from pretrain.engine.fitting import full_batch


def test_short_texts_are_as_many_tokens_together():
    lengths = short_lengths(4096, longest=128)
    assert sum(lengths) == 4096 and max(lengths) == 128 and len(lengths) > 60
    assert sum(20 <= length <= 80 for length in lengths) > len(lengths) / 3


def test_a_batch_that_is_cut_has_the_same_tokens_in_other_sequences():
    config = load_config(PretrainConfig, "small")
    batch = full_batch(2, config, 100, 8)
    found = cut(batch, [3, 9, 4])
    assert torch.equal(found.tokens_T, batch.tokens_T) and found.longest == 9
    assert found.boundaries.tolist() == [0, 3, 12, 16]
    assert found.positions_T.tolist() == [*range(3), *range(9), *range(4)]
    assert len(found.next_sentence_B) == len(found.dropout_keys) == 3
