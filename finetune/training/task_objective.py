"""What a fine-tuning trial learns: a task's training examples, judged on dev as it goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from finetune.data.example import Splits, are_labelled
from finetune.model.task_model import TaskBatch, TaskBatches, TaskModel, compute_logits
from finetune.tasks.task import AnyTask, Feature, Settings
from finetune.training.trials import Trial
from pretrain.engine.engine import Engine
from pretrain.engine.objective import Objective, Share
from pretrain.engine.reporter import Reporter
from pretrain.run.checkpoint import Tensors


@dataclass(frozen=True)
class Framed:
    """A task's examples and their features, by part."""

    examples: Splits[Any]
    features: dict[str, list[Feature]]
    """as in `Splits.parts`"""


@dataclass(frozen=True)
class Best:
    """The best evaluation so far."""

    step: int
    scores: dict[str, float]
    """of dev"""
    settings: dict[str, Any]
    """the task's, chosen on dev"""
    weights: Tensors
    """of the whole model, on the CPU"""
    answers: list[Any] | None = None
    """to the examples of dev; None: from an earlier start, which did not keep them"""
    age: int = 0
    """evaluations since, none of which was better"""


@dataclass(frozen=True)
class Result:
    """What a trial found at its best evaluation."""

    scores: dict[str, dict[str, float]]
    """of dev and of every other part that has labels, by its name"""
    answers: dict[str, list[Any]]
    """of every part that was evaluated"""
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    """on the CPU"""
    step: int
    epoch: float
    seconds: float = 0.0
    """training time, that of earlier starts included"""


class TrialReporter(Reporter):
    """Says scores on dev beside the loss."""

    def dev(self, step: int, epoch: float, scores: dict[str, float], is_best: bool) -> None:
        """An evaluation: a record and a line."""
        self.log.record("dev", step, scores)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        mark = "  best so far" if is_best else ""
        self.say(f"epoch {epoch:.2f}  dev: {shown}{mark}")


class TaskObjective(Objective[TaskBatch]):
    """The summed loss of a task; what scores best on dev is kept for the other parts."""

    reporter: TrialReporter
    saves_last_step = False

    def __init__(
        self,
        trial: Trial,
        task: AnyTask,
        framed: Framed,
        engine: Engine,
        data: TaskBatches,
        reporter: TrialReporter,
    ) -> None:
        self.config, self.seed, self.name = trial.config, trial.seed, trial.name
        self.task, self.framed = task, framed
        self.engine, self.data, self.reporter = engine, data, reporter
        self.schedule, self.steps_per_epoch = reporter.schedule, data.steps_per_epoch
        assert isinstance(engine.model, TaskModel)
        self.model: TaskModel = engine.model
        self.best: Best | None = None
        self._evaluation_steps = self._choose_evaluation_steps()

    def counts(self, batches: Sequence[TaskBatch]) -> tuple[float, ...]:
        """The weight of all targets."""
        return (float(sum(self.model.loss.weight(batch.targets) for batch in batches)),)

    def divisors(self, counts: Sequence[float]) -> tuple[float, ...]:
        """The weight of all targets of the step, which may be below 1."""
        return (max(counts[0], 1e-9),)

    def share(self, batch: TaskBatch, divisors: tuple[float, ...]) -> Share:
        """The task's loss."""
        loss = self.engine(batch.to(self.engine.world.device)).loss_sum / divisors[0]
        return Share(loss, {"loss": loss})

    def evaluates_at(self, step: int) -> bool:
        """`evaluations_per_epoch` times an epoch, and after the last step."""
        return step in self._evaluation_steps

    def evaluate(self, step: int) -> bool:
        """Score dev and keep the weights if they are the best; whether patience has run out."""
        answers, settings = self._answers("dev", None)
        scores = self.task.scores(self.framed.examples.dev, answers)
        metric, best = self.task.metric, self.best
        # Any number takes the place of NaN.
        own, highest = scores[metric], best.scores[metric] if best else math.nan
        if best is None or own > highest or (math.isnan(highest) and not math.isnan(own)):
            state = self.model.state_dict()
            weights = {name: w.detach().to("cpu", copy=True) for name, w in state.items()}
            self.best = Best(step, scores, settings, weights, answers)
        else:
            self.best = replace(best, age=best.age + 1)
        self.reporter.dev(step, step / self.steps_per_epoch, scores, self.best.age == 0)
        patience = self.config.patience
        return patience is not None and self.best.age >= patience

    def extra_state(self) -> tuple[dict[str, Any], Tensors]:
        """The best evaluation, but for its answers: its weights give them again."""
        best = self.best
        if best is None:
            return {}, {}
        names = ("step", "scores", "settings", "age")
        return {name: getattr(best, name) for name in names}, best.weights

    def resume(self, extra: dict[str, Any], weights: Tensors) -> None:
        """Take over what `extra_state` gave."""
        self.best = Best(**extra, weights=weights)

    def result(self, beat: Callable[[str], None]) -> Result:
        """The scores and answers of the best weights, which the model has from now on."""
        best = self.best
        assert best is not None, "the loop evaluates its last step"
        self.model.load_state_dict(best.weights)
        scores = {"dev": best.scores}
        answers = {} if best.answers is None else {"dev": best.answers}
        for name, examples in self.framed.examples.evaluated.items():
            if name not in answers:
                beat(f"{self.name}, evaluation on {name}")
                answers[name], _ = self._answers(name, best.settings)
            if name != "dev" and are_labelled(examples):
                scores[name] = self.task.scores(examples, answers[name])
        epoch = best.step / self.steps_per_epoch
        return Result(scores, answers, best.settings, best.weights, best.step, epoch)

    def _answers(self, part: str, settings: Settings | None) -> tuple[list[Any], Settings]:
        """(answers to the examples of a part, settings); without settings, the best are chosen."""
        examples, features = self.framed.examples.parts[part], self.framed.features[part]
        sequences = self.config.batch.micro_sequences
        assert isinstance(sequences, int)
        self.engine.train(False)
        world = self.engine.world
        logits = compute_logits(self.engine, self.model.kind, features, sequences, world)
        self.engine.train(True)
        answers = self.task.answers(examples, features, logits, settings or {})
        if settings is None:
            settings = self.task.choose_settings(examples, answers)
            if settings:
                answers = self.task.answers(examples, features, logits, settings)
        return answers, settings

    def _choose_evaluation_steps(self) -> range | set[int]:
        epoch, number = self.steps_per_epoch, self.config.evaluations_per_epoch
        total = self.schedule.total_steps
        if total is None:
            return range(0, 2**31, max(1, epoch // number))
        evaluations = round(number * total / epoch) or 1
        return {round(total * (i + 1) / evaluations) for i in range(evaluations)}
