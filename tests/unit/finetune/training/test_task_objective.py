"""Which evaluation of a trial counts, what a resume takes over, and when dev is scored."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from configs.finetune_schema import FinetuneConfig, HeadConfig
from configs.schema import ModelConfig, ScheduleConfig
from finetune.data.example import Splits, TextExample
from finetune.model.task_model import TaskBatches, TaskLoss, TaskModel
from finetune.tasks.task import Feature
from finetune.training.task_objective import Framed, TaskObjective
from finetune.training.trials import make_trials
from pretrain.model.encoder import Encoder
from pretrain.optim.schedule import Phase, Schedule
from pretrain.ranks.world import World

SHAPE = ModelConfig(layers=1, hidden_size=8, heads=2, feed_forward_size=8, max_positions=16)


class ToyEngine:
    """A model without DeepSpeed."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.world = model, World(0, 1, torch.device("cpu"))

    def __call__(self, batch):
        return self.model(batch)

    def train(self, mode: bool = True) -> None:
        self.model.train(mode)


class ToyTask:
    """Its answers are logits above a threshold, its scores those of a list."""

    metric = "accuracy"

    def __init__(self, *scores: float) -> None:
        self.left = list(scores)

    def answers(self, examples, features, logits, settings):
        return [row - settings.get("threshold", 0.0) for row in logits]

    def choose_settings(self, examples, answers):
        return {"threshold": float(answers[0][0])}

    def scores(self, examples, answers):
        return {"accuracy": self.left.pop(0)}


def toy(task: ToyTask, steps: int = 12, minutes: float | None = None, **fields) -> TaskObjective:
    """An objective of 6 examples to train on (3 steps an epoch) and 2 of dev and of test."""
    fields = {"schedule": ScheduleConfig(max_steps=steps), **fields}
    if minutes:
        fields["schedule"] = ScheduleConfig(max_minutes=minutes)
    (trial,) = make_trials(FinetuneConfig(seeds=[4], **fields))
    examples = [TextExample("", str(n), "", None, n % 2) for n in range(10)]
    none = np.zeros(3, np.int64)
    features = [
        Feature(n, (np.array([5, 6 + n, 7]),), (none,), np.array([n % 2])) for n in range(6)
    ]
    parts = {"train": examples[:6], "dev": examples[6:8], "test": examples[8:]}
    own = {"train": features, "dev": features[:2], "test": features[2:4]}
    framed = Framed(Splits(parts, ("no", "yes")), own)
    torch.manual_seed(0)
    model = TaskModel(Encoder(SHAPE, 20, 0), 2, TaskLoss("classification", HeadConfig()))
    data = TaskBatches(features, SimpleNamespace(sequences=2, micro_batches=lambda n: 1), 4)
    phase = Phase(0, data.steps_per_epoch, data.tokens_per_epoch)
    reporter = SimpleNamespace(schedule=Schedule.make(trial.config.schedule, [phase]), said=[])
    reporter.dev = lambda step, epoch, scores, is_best: reporter.said.append((step, is_best))
    return TaskObjective(trial, task, framed, ToyEngine(model), data, reporter)


def shift(objective: TaskObjective) -> None:
    """As if steps were taken."""
    with torch.no_grad():
        for parameter in objective.model.parameters():
            parameter += 1.0


def test_the_first_of_the_best_is_kept_as_it_was():
    objective = toy(ToyTask(0.5, 0.7, 0.7, 0.6))
    for step in (3, 6, 9, 12):
        shift(objective)
        assert objective.evaluate(step) is False
        if step == 6:
            best = {name: w.clone() for name, w in objective.model.state_dict().items()}
    assert objective.reporter.said == [(3, True), (6, True), (9, False), (12, False)]
    assert (objective.best.step, objective.best.age) == (6, 2)
    for name, weight in best.items():
        assert torch.equal(objective.best.weights[name], weight)


def test_patience_counts_evaluations_that_are_no_better():
    objective = toy(ToyTask(0.5, 0.5, 0.6, 0.4, 0.6), patience=2)
    assert [objective.evaluate(step) for step in (3, 6, 9, 12, 15)] == [False] * 4 + [True]


def test_any_score_takes_the_place_of_one_that_is_no_number():
    objective = toy(ToyTask(math.nan, math.nan, 0.1, math.nan, 0.5))
    for step in (3, 6, 9, 12, 15):
        objective.evaluate(step)
    best = [step for step, is_best in objective.reporter.said if is_best]
    assert best == [3, 9, 15]


def test_what_a_resume_takes_over_gives_the_same_result():
    first, second = toy(ToyTask(0.5, 0.9, 0.1, 0.8)), toy(ToyTask(0.8))
    for step in (3, 6, 9):
        shift(first)
        first.evaluate(step)
    extra, weights = first.extra_state()
    second.resume(extra, weights)
    assert second.best.age == 1
    beats = []
    found, expected = second.result(beats.append), first.result(lambda doing: None)
    assert (found.scores, found.settings, found.step) == (
        {"dev": {"accuracy": 0.9}, "test": {"accuracy": 0.8}},
        expected.settings,
        6,
    )
    assert found.scores == expected.scores and found.epoch == expected.epoch == 2.0
    for part in ("dev", "test"):
        np.testing.assert_array_equal(found.answers[part], expected.answers[part])
    assert beats == ["seed=4, evaluation on dev", "seed=4, evaluation on test"]


def test_before_the_first_evaluation_there_is_nothing_to_keep():
    assert toy(ToyTask()).extra_state() == ({}, {})


@pytest.mark.parametrize(
    ("steps", "an_epoch", "expected"),
    [(12, 1, [3, 6, 9, 12]), (6, 2, [2, 3, 4, 6]), (2, 1, [2]), (5, 1, [2, 5])],
)
def test_dev_is_scored_so_often_and_at_the_end(steps, an_epoch, expected):
    objective = toy(ToyTask(), steps, evaluations_per_epoch=an_epoch)
    assert [step for step in range(1, steps + 1) if objective.evaluates_at(step)] == expected


def test_where_the_clock_ends_it_dev_is_scored_every_epoch():
    objective = toy(ToyTask(), minutes=1.0)
    assert [step for step in range(1, 8) if objective.evaluates_at(step)] == [3, 6]


def test_a_step_is_divided_by_the_weight_of_its_targets():
    objective = toy(ToyTask())
    batches = objective.data.step(0)
    assert objective.counts(batches) == (2.0,)
    assert objective.divisors((6.0,)) == (6.0,) and objective.divisors((0.0,)) == (1e-9,)
    (batch,) = batches
    whole, half = objective.share(batch, (1.0,)), objective.share(batch, (2.0,))
    assert whole.loss.item() == pytest.approx(2 * half.loss.item())
