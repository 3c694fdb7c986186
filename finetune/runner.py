"""The training loop of one trial."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.data.example import Splits, are_labelled
from finetune.model.task_batches import TaskBatches, evaluation_batches
from finetune.model.task_model import TaskModel, batch_logits
from finetune.tasks.feature import Feature
from finetune.tasks.task import Task
from finetune.trials import Trial
from pretrain.engine.engine import Engine
from pretrain.engine.log_window import Reading, Window
from pretrain.engine.memory import memory_held
from pretrain.engine.skipped import SkippedSteps
from pretrain.optim.schedule import Phase, Schedule
from pretrain.randomness import Purpose, key_64
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.process import give_memory_back
from pretrain.ranks.world import World
from pretrain.run.log import RunLog, duration
from pretrain.run.opening import traffic_line

logger = logging.getLogger(__name__)

SUMS = ("loss", "tokens")
"""what a window adds up: this rank's part"""


@dataclass(frozen=True)
class Framed:
    """A task's examples and their features, by part."""

    examples: Splits
    train: list[Feature]
    evaluated: dict[str, list[Feature]]
    """of dev, test and further files, as in `Splits.evaluated`"""


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
    seconds: float

    @property
    def by_part(self) -> dict[str, Any]:
        """The scores as they are written: dev, test (null where there is none), further ones."""
        further = {name: s for name, s in self.scores.items() if name not in ("dev", "test")}
        return {"dev": self.scores["dev"], "test": self.scores.get("test"), "further": further}


@dataclass
class Best:
    """The best evaluation so far."""

    score: float = -math.inf
    step: int = 0
    age: int = 0
    """evaluations since"""
    found: tuple | None = None


class Runner:
    """Trains one model; everything random is a function of the seed and the step (law 1)."""

    def __init__(
        self,
        trial: Trial,
        task: Task,
        framed: Framed,
        model: TaskModel,
        world: World,
        log: RunLog,
        notice: PreemptionNotice | None = None,
        beat: Callable[[str], None] = lambda doing: None,
        precision: str | None = None,
    ) -> None:
        """`notice` tells when to leave early; `beat` is told what comes next; `precision` is what
        `auto` became."""
        self.trial, self.task, self.framed = trial, task, framed
        self.model, self.world, self.log = model, world, log
        self.notice, self.beat = notice or PreemptionNotice(), beat
        config = self.config = trial.config
        self.batches = TaskBatches(framed.train, config.batch, trial.seed)
        phase = Phase(0, self.batches.steps_per_epoch, self.batches.tokens_per_epoch)
        self.schedule = Schedule.make(config.schedule, [phase])
        self.engine = Engine(model, config, world, precision, config.layer_decay)
        self.skipped = SkippedSteps(config.safety.max_skipped_steps, 0)
        self.best = Best()
        self.started = time.monotonic()

    def run(self) -> Result:
        """Train, scoring dev on the way; what scored best there is kept for the other parts.

        Raises:
            Preempted: `notice` was given on some rank; this trial is to begin anew.
        """
        if self.world.size > 1:
            traffic = traffic_line(self.config, self.model, self.world)
            logger.info(f"{self.trial.name}  traffic: {traffic}")
        evaluate_at = self._evaluation_steps()
        window = Window(self.world.device, len(SUMS))
        self.engine.train()
        total = self.schedule.total_steps
        for step in count() if total is None else range(total):
            progress = self._progress(step)
            if progress >= 1:
                break
            window.progress = progress
            self._step(step, window)
            done = step + 1
            if done % self.config.log_every_steps == 0:
                window = self._log(done, window)
            if done in evaluate_at:
                began = time.monotonic()
                if self._evaluate(done):
                    break
                window.started += time.monotonic() - began
        if len(window):
            self._log(done, window)
        if self.best.step != done and done not in evaluate_at:
            self._evaluate(done)
        return self._result()

    def _evaluation_steps(self) -> range | set[int]:
        epoch, number = self.batches.steps_per_epoch, self.config.evaluations_per_epoch
        total = self.schedule.total_steps
        if total is None:
            return range(0, 2**31, max(1, epoch // number))
        evaluations = round(number * total / epoch) or 1
        return {round(total * (i + 1) / evaluations) for i in range(evaluations)}

    def _progress(self, step: int) -> float:
        """The same on all ranks; asks rank 0's clock only where the clock decides."""
        if self.schedule.total_steps is not None:
            return self.schedule.progress(step, 0.0)
        minutes = (time.monotonic() - self.started) / 60
        return self.schedule.progress(step, self.world.from_main(minutes))

    def _step(self, step: int, window: Window) -> None:
        world, loss = self.world, self.model.loss
        self.beat(f"{self.trial.name}, step {step}")
        batches = self.batches.step(step, world.rank, world.size)
        weight = float(sum(loss.weight(batch.targets) for batch in batches))
        weight, notices = world.sum_on_host(weight, self.notice.is_given())
        if notices:
            self.notice.leave(world, step, f"{self.trial.name}, ")
        for number, batch in enumerate(batches):
            # Native dropout (CUDA) draws from the generator seeded here.
            place = world.rank + number * world.size
            torch.manual_seed(key_64(self.trial.seed, Purpose.DROPOUT, step, place))
            part = self.engine(batch.to(world.device)).loss_sum / max(weight, 1e-9)
            self.engine.backward(part, is_last=number == len(batches) - 1)
            tokens = torch.full_like(part, len(batch.inputs.tokens_T))
            window.add(step, [part, tokens])
        peak = self.config.optimizer.learning_rate
        rate = self.schedule.learning_rate(peak, step, window.progress)
        window.close_step(step, self.engine.step(rate), rate)

    def _log(self, step: int, window: Window) -> Window:
        """Metrics of the window that ends with `step`; returns the next one.

        Raises:
            RunError: too many steps in a row had no finite gradient.
        """
        reading = window.read()
        self.skipped.add(reading.skipped, step)
        if reading.skipped:
            logger.info(f"{self.trial.name}  skipped steps {list(reading.skipped)}: not finite")
        if reading.taken:
            self._report(step, window, reading)
        give_memory_back()
        return Window(self.world.device, len(SUMS))

    def _report(self, step: int, window: Window, reading: Reading) -> None:
        loss, tokens = self.world.sum(reading.sums).tolist()
        values = {
            "loss": loss / reading.taken,
            "learning_rate": window.learning_rate,
            "gradient_norm": reading.norm,
            "tokens_per_second": tokens / (time.monotonic() - window.started),
            **memory_held(self.world.device),
        }
        self.log.record("train", step, values)
        minutes = (time.monotonic() - self.started) / 60
        progress, left = (
            self.schedule.progress(step, minutes),
            self.schedule.minutes_left(step, minutes),
        )
        total = f"/{self.schedule.total_steps}" if self.schedule.total_steps else ""
        logger.info(
            f"{self.trial.name}  step {step:>5}{total}  {progress:4.0%}  loss {values['loss']:6.4f}"
            f"  lr {window.learning_rate:.1e}  norm {values['gradient_norm']:5.2f}"
            f"  {values['tokens_per_second']:>7,.0f} tokens/s  left {duration(60 * left)}"
        )

    def _evaluate(self, step: int) -> bool:
        """Score dev and keep the state if it is the best; returns whether patience has run out."""
        self.beat(f"{self.trial.name}, evaluation at step {step}")
        examples, features = self.framed.examples.dev, self.framed.evaluated["dev"]
        logits = predict_logits(self.engine, features, self.config.batch.micro_sequences)
        answers = self.task.answers(examples, features, logits, {})
        settings = self.task.choose_settings(examples, answers)
        if settings:
            answers = self.task.answers(examples, features, logits, settings)
        scores = self.task.scores(examples, answers)
        score, best = scores[self.task.metric], self.best
        is_better = score > best.score
        if is_better:
            found = (scores, answers, settings, cpu_weights(self.model))
            self.best = Best(score, step, 0, found)
        else:
            best.age += 1
        epoch = step / self.batches.steps_per_epoch
        self.log.record("dev", step, scores)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        mark = "  best so far" if is_better else ""
        logger.info(f"{self.trial.name}  epoch {epoch:.2f}  dev: {shown}{mark}")
        patience = self.config.patience
        return patience is not None and self.best.age >= patience

    def _result(self) -> Result:
        dev, dev_answers, settings, weights = self.best.found
        self.model.load_state_dict(weights)
        scores, answers = {"dev": dev}, {"dev": dev_answers}
        for name, examples in self.framed.examples.evaluated.items():
            if name == "dev":
                continue
            features = self.framed.evaluated[name]
            self.beat(f"{self.trial.name}, evaluation on {name}")
            logits = predict_logits(self.engine, features, self.config.batch.micro_sequences)
            answers[name] = self.task.answers(examples, features, logits, settings)
            if are_labelled(examples):
                scores[name] = self.task.scores(examples, answers[name])
        return Result(
            scores,
            answers,
            settings,
            weights,
            self.best.step,
            self.best.step / self.batches.steps_per_epoch,
            time.monotonic() - self.started,
        )


def predict_logits(engine: Engine, features: Sequence[Feature], sequences: int) -> list[np.ndarray]:
    """The logits of every feature, in order, on every rank; all ranks share the work."""
    world = engine.world
    own: dict[int, np.ndarray] = {}
    engine.train(False)
    for batch in evaluation_batches(features, sequences, world.rank, world.size):
        own.update(batch_logits(engine, engine.model.kind, features, batch, world.device))
    engine.train(True)
    merged = {number: rows for part in world.gather(own) for number, rows in part.items()}
    return [merged[number] for number in range(len(features))]


def cpu_weights(model: TaskModel) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: w.detach().to("cpu", copy=True) for name, w in model.state_dict().items()}
