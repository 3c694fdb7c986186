"""A micro-batch cut into its samples."""

from __future__ import annotations

from dataclasses import replace

import torch

from pretrain.engine.replay import split
from tests.unit.pretrain.model.examples import random_batch, random_model, tiny


def test_samples_alone_lose_what_they_lost_together():
    documents = torch.tensor([0, 3, 7, 19, 20, 24, 29], dtype=torch.int32)
    batch = replace(random_batch(share=0.6), documents=documents, longest_document=12)
    model = random_model(tiny(attention_window=4)).eval()
    together = model(batch).mlm_loss_sum
    alone = list(split(batch))
    assert [one.documents.tolist() for one in alone] == [[0, 3, 7], [0, 12], [0, 1], [0, 4, 9]]
    torch.testing.assert_close(sum(model(one).mlm_loss_sum for one in alone), together)
    plain = replace(batch, documents=None)
    assert all(one.documents is None for one in split(plain))
