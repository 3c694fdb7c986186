"""Fine-tuning means the same on any number of ranks: curve, dev scores and kept weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.distributed.ranks import on_ranks

pytestmark = pytest.mark.distributed
LABELS = ("low", "middle", "high")
VOCABULARY = 60
TINY = [
    "model=unused",
    "schedule.max_epochs=6",
    "optimizer.learning_rate=0.01",
    "head.pooling=mean",
    "engine.precision=fp32",
    "batch={sequences: 16, micro_sequences: 8}",
    "log_every_steps=1",
    "evaluations_per_epoch=1",
]


def tune(folder: str, variants: list[list[str]]) -> list[tuple[list[float], dict, list, dict]]:
    """(losses, dev scores, dev answers, weights) of each variant; runs on every rank."""
    from pretrain.ranks import world as ranks

    world = ranks.start()
    found = [tune_one(world, Path(folder) / str(n), v) for n, v in enumerate(variants)]
    ranks.stop()
    return found


def tune_one(world, folder: Path, overrides: list[str]) -> tuple[list[float], dict, list, dict]:
    from configs.finetune_schema import FinetuneConfig
    from configs.loader import load_config
    from configs.schema import ModelConfig
    from configs.system.run_folder import RunFolder
    from finetune.data.example import Splits
    from finetune.model.task_losses import TaskLoss, balanced_weights
    from finetune.model.task_model import TaskModel
    from finetune.task_objective import Framed
    from finetune.tasks.kinds import make_task
    from finetune.trial_trainer import Surroundings, train_trial
    from finetune.trials import make_trials
    from pretrain.model.encoder import Encoder
    from pretrain.model.pretraining import initialise
    from pretrain.ranks.agreement import Agreement
    from pretrain.ranks.preemption import PreemptionNotice

    config = load_config(FinetuneConfig, "finetune/sst2", [*TINY, f"run_dir={folder}", *overrides])
    (trial,) = make_trials(config)
    shape = ModelConfig(
        layers=2, hidden_size=32, heads=2, feed_forward_size=64, max_positions=64, dropout=0.1
    )
    train, dev = random_examples(0, 70), random_examples(1, 31)
    task = make_task(config.task, 32, LABELS)
    framed = Framed(Splits(train[0], dev[0], [], LABELS), train[1], {"dev": dev[1]})
    weights = balanced_weights([example.target for example in train[0]], len(LABELS))
    loss = TaskLoss("classification", config.head, weights)
    model = TaskModel(Encoder(shape, VOCABULARY, 1), len(LABELS), loss)
    initialise(model, shape, seed=7)
    around = Surroundings(Agreement(world), "fp32", PreemptionNotice(), beat=lambda doing: None)
    result = train_trial(trial, task, framed, model, None, "fingerprint", around)
    world.barrier()
    records = RunFolder(trial.folder).read_metrics()
    losses = [r["loss"] for r in records if r["kind"] == "train"]
    kept = {name: w.numpy() for name, w in result.weights.items()}
    return losses, result.scores["dev"], result.answers["dev"], kept


def random_examples(seed: int, number: int):
    """Texts of random tokens, labelled by the size of their tokens, with their features."""
    from finetune.data.example import TextExample
    from finetune.tasks.feature import Feature

    rng = np.random.default_rng(seed)
    examples, features = [], []
    for place in range(number):
        target = int(rng.integers(len(LABELS)))
        ids = rng.integers(3 + 15 * target, 33 + 12 * target, rng.integers(4, 20))
        examples.append(TextExample("", str(place), "", None, target))
        none = np.zeros(len(ids), np.int64)
        features.append(Feature(place, (ids,), (none,), np.array([target])))
    return examples, features


def test_ranks_accumulation_and_zero_do_not_change_the_result(tmp_path):
    variants = [[], ["batch.micro_sequences=4"], ["engine.zero_stage=2"]]
    (single,) = on_ranks(tune, 1, str(tmp_path / "1"), variants[:2])
    both = on_ranks(tune, 2, str(tmp_path / "2"), variants)
    losses, scores, answers, weights = single[0]
    assert losses[-1] < 0.8 * losses[0], "nothing was learnt"
    assert scores["accuracy"] > 0.5
    for other in (single[1], *both[0]):
        np.testing.assert_allclose(other[0], losses, rtol=1e-4)
        assert other[1] == pytest.approx(scores)
        np.testing.assert_allclose(other[2], answers, atol=1e-4)
        for name, weight in weights.items():
            np.testing.assert_allclose(other[3][name], weight, atol=1e-4, err_msg=name)
    for one, two in zip(*both):
        np.testing.assert_array_equal(one[2], two[2], err_msg="ranks disagree")
