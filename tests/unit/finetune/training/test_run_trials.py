"""What a run is known by, and what it takes over from the encoder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from configs.errors import RunError
from configs.finetune_schema import AdaptConfig, FinetuneConfig
from configs.schema import EngineConfig
from finetune.data.example import Splits, TextExample
from finetune.training.run_trials import (
    digest,
    digest_examples,
    find_precision,
    inherited,
    require_same_weights,
)
from pretrain.engine import precision
from pretrain.ranks.world import World
from tests.threads import on_threads

EXAMPLES = [TextExample(f"a.csv, row {n}", str(n), f"text {n}", None, n % 2) for n in range(4)]
PARTS = {"train": EXAMPLES[:2], "dev": EXAMPLES[2:3], "test": EXAMPLES[3:]}
SPLITS = Splits(PARTS, ("no", "yes"))


def test_examples_are_known_by_what_they_say_not_by_where_they_lie():
    moved = [replace(e, where="b.csv, row 9") for e in SPLITS.train]
    assert digest_examples(Splits({**PARTS, "train": moved})) == digest_examples(SPLITS)
    for change in ({"text": "other"}, {"target": 1}, {"pair": "more"}, {"id": "7"}):
        changed = [replace(SPLITS.train[0], **change), SPLITS.train[1]]
        assert digest_examples(Splits({**PARTS, "train": changed})) != digest_examples(SPLITS)


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


def test_trials_of_a_run_that_goes_on_keep_its_precision(tmp_path, monkeypatch):
    """Whatever this machine would choose; a precision that is asked for is taken."""
    monkeypatch.setattr(precision, "race", lambda speed: 9.0)
    monkeypatch.setattr(precision, "can_multiply_bf16", lambda device: True)
    world = World(0, 1, torch.device("cpu"))
    config = FinetuneConfig(run_dir=str(tmp_path / "run"), adapt=AdaptConfig(cache=str(tmp_path)))
    assert find_precision(config, world).name == "bf16"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text('{"precision": "fp32"}')
    assert find_precision(config, world).name == "fp32"
    asked = replace(config, engine=EngineConfig("bf16"))
    assert find_precision(asked, world).name == "bf16"
    (tmp_path / "run" / "environment.json").write_text('{"precision": ["fp8"]}')
    assert find_precision(config, world).source.startswith("remembered")


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_model_that_ranks_do_not_share_is_not_kept(ranks):
    def rank(world):
        same = SimpleNamespace(weights={"a": torch.ones(2), "b": torch.ones(3)})
        require_same_weights(SimpleNamespace(name="seed=0"), same, world)
        same.weights["b"][1] += world.rank == 1
        require_same_weights(SimpleNamespace(name="seed=0"), same, world)

    for error in on_threads(ranks, rank):
        assert isinstance(error, RunError) and error.is_of_all_ranks
        assert "seed=0: ranks no longer hold the same weights: b=" in str(error)
        assert "on rank 1" in str(error)
