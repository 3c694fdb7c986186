"""What a run is known by, and what it takes over from the encoder."""

from __future__ import annotations

from dataclasses import replace

import torch

from finetune.example import Splits, TextExample
from finetune.train import digest, digest_examples, inherited

EXAMPLES = [TextExample(f"a.csv, row {n}", str(n), f"text {n}", None, n % 2) for n in range(4)]
SPLITS = Splits(EXAMPLES[:2], EXAMPLES[2:3], EXAMPLES[3:], ("no", "yes"))


def test_examples_are_known_by_what_they_say_not_by_where_they_lie():
    moved = replace(SPLITS, train=[replace(e, where="b.csv, row 9") for e in SPLITS.train])
    assert digest_examples(moved) == digest_examples(SPLITS)
    for change in ({"text": "other"}, {"target": 1}, {"pair": "more"}, {"id": "7"}):
        changed = replace(SPLITS, train=[replace(SPLITS.train[0], **change), SPLITS.train[1]])
        assert digest_examples(changed) != digest_examples(SPLITS), change


def test_weights_are_known_by_names_and_values():
    weights = {"a": torch.ones(2), "b": torch.zeros(2)}
    assert digest(weights) == digest(dict(reversed(weights.items())))
    assert digest(weights) != digest({"a": torch.zeros(2), "b": torch.ones(2)})


def test_a_task_model_takes_over_the_encoder_and_a_trained_pooler():
    weights = {
        "encoder.x": torch.ones(1),
        "mlm_head.x": torch.ones(1),
        "nsp_head.pooler.weight": torch.full((1,), 2.0),
        "nsp_head.pooler.bias": torch.full((1,), 3.0),
        "nsp_head.classifier.weight": torch.ones(1),
    }
    kept = inherited(weights)
    assert set(kept) == {"encoder.x", "head.dense.weight", "head.dense.bias"}
    assert kept["head.dense.bias"] == 3
