"""Fine-tuning means the same on any number of ranks: curve, dev scores and kept weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pretrain.ranks.preemption import Preempted, PreemptionNotice
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


def tune_cut(folder: str, variants: list[list[str]]) -> list[tuple[list[float], dict, list, dict]]:
    """The same, each asked to leave after 7 steps, again and again."""
    from pretrain.ranks import world as ranks

    world = ranks.start()
    found = [tune_one(world, Path(folder) / str(n), v, 7) for n, v in enumerate(variants)]
    ranks.stop()
    return found


def tune_one(
    world, folder: Path, overrides: list[str], leaving_after: int = 10**6
) -> tuple[list[float], dict, list, dict]:
    """Train a trial, in as many starts as it takes."""
    while True:
        try:
            return tune_start(world, folder, overrides, leaving_after)
        except Preempted as left:
            saved = folder / f"trials/seed=0/checkpoints/step-{left.step:08d}"
            assert not world.is_main or (saved / "complete").is_file()


class Soon(PreemptionNotice):
    """A notice that is given to rank 0 after so many steps."""

    def __init__(self, world, steps: int) -> None:
        super().__init__()
        self.is_heard, self.steps = world.is_main, steps

    def is_given(self) -> bool:
        self.steps -= 1
        self.reason = "SIGTERM" if self.is_heard and self.steps < 0 else None
        return self.reason is not None


def tune_start(
    world, folder: Path, overrides: list[str], leaving_after: int
) -> tuple[list[float], dict, list, dict]:
    from configs.finetune_schema import FinetuneConfig
    from configs.loader import load_config
    from configs.schema import ModelConfig
    from configs.system.run_folder import RunFolder
    from finetune.data.example import Splits
    from finetune.model.model_folder import make_task
    from finetune.model.task_model import TaskLoss, TaskModel, balanced_weights
    from finetune.training.task_objective import Framed
    from finetune.training.trial_run import Common, train_trial
    from finetune.training.trials import make_trials
    from pretrain.model.encoder import Encoder
    from pretrain.model.pretraining import initialise
    from pretrain.ranks.agreement import Agreement

    config = load_config(FinetuneConfig, "finetune/sst2", [*TINY, f"run_dir={folder}", *overrides])
    (trial,) = make_trials(config)
    shape = ModelConfig(
        layers=2, hidden_size=32, heads=2, feed_forward_size=64, max_positions=64, dropout=0.1
    )
    train, dev = random_examples(0, 70), random_examples(1, 31)
    task = make_task(config.task, 32, LABELS)
    splits = Splits({"train": train[0], "dev": dev[0]}, LABELS)
    framed = Framed(splits, {"train": train[1], "dev": dev[1]})
    weights = balanced_weights([example.target for example in train[0]], len(LABELS))
    loss = TaskLoss("classification", config.head, weights)
    model = TaskModel(Encoder(shape, VOCABULARY, 1), len(LABELS), loss)
    initialise(model, shape, seed=7)
    pretrained, notice = SimpleNamespace(tokenizer=None), Soon(world, leaving_after)
    fp32, eager = SimpleNamespace(name="fp32"), SimpleNamespace(is_on=False)
    common = Common(task, framed, pretrained, "contents", Agreement(world), fp32, eager, notice)
    result = train_trial(trial, model, common, beat=lambda doing: None)
    world.barrier()
    records = RunFolder(trial.folder).read_metrics()
    losses = [r["loss"] for r in records if r["kind"] == "train"]
    kept = {name: w.numpy() for name, w in result.weights.items()}
    return losses, result.scores["dev"], result.answers["dev"], kept


def random_examples(seed: int, number: int):
    """Texts of random tokens, labelled by the size of their tokens, with their features."""
    from finetune.data.example import TextExample
    from finetune.tasks.task import Feature

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


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_trial_that_was_cut_again_and_again_is_bit_for_bit_the_same(tmp_path, ranks):
    """By signals that one rank hears; with early stopping, whose state is saved as well."""
    own = ["patience=2"], ["engine.zero_stage=2", "checkpoint.asynchronous=true"]
    variants = [["schedule.max_epochs=4", *fields] for fields in own]  # 20 steps, so three starts
    calm = on_ranks(tune, ranks, str(tmp_path / "calm"), variants)
    cut = on_ranks(tune_cut, ranks, str(tmp_path / "cut"), variants)
    for expected, found in zip(calm[0], cut[0]):
        assert found[0] == expected[0] and found[1] == expected[1]
        np.testing.assert_array_equal(found[2], expected[2])
        for name, weight in expected[3].items():
            np.testing.assert_array_equal(found[3][name], weight, err_msg=name)
