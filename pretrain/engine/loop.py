"""The training loop: of pretraining, of adaptation to a task, and of fine-tuning.

A step is a function of its number (law 1), so all that a loop carries from step to step is what a
checkpoint holds. What differs between the three is an `Objective`; what people see of it is said by
its `Reporter`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Generic, Protocol

import torch

from configs.schema import CheckpointConfig, OptimizerConfig, SafetyConfig
from pretrain.data.batches import Batch
from pretrain.engine.log_window import Reading, Window
from pretrain.engine.memory import memory_held
from pretrain.engine.objective import Objective
from pretrain.engine.reporter import Summary
from pretrain.engine.skipped import SkippedSteps
from pretrain.randomness import Purpose, key_64
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.process import give_memory_back, only_new_objects_collected
from pretrain.run import checkpoint, checkpoint_state


class LoopConfig(Protocol):
    """The part of a configuration that the loop reads."""

    @property
    def log_every_steps(self) -> int:
        """Steps from one log line to the next."""
        ...

    @property
    def optimizer(self) -> OptimizerConfig:
        """The peak learning rate."""
        ...

    @property
    def checkpoint(self) -> CheckpointConfig:
        """When to save."""
        ...

    @property
    def safety(self) -> SafetyConfig:
        """How many steps may be skipped."""
        ...


class Loop(Generic[Batch]):
    """Takes the steps that are left, with logs, evaluations and checkpoints on the way."""

    def __init__(
        self,
        objective: Objective[Batch],
        config: LoopConfig,
        state: checkpoint_state.State,
        writer: checkpoint.Writer,
        notice: PreemptionNotice,
        beat: Callable[[str], None],
    ) -> None:
        """Args:
        state: where to begin; its other fields go into each checkpoint as they are.
        notice: tells when to leave early.
        beat: is told what comes next.
        """
        self.objective, self.config, self.state = objective, config, state
        self.engine, self.schedule = objective.engine, objective.schedule
        self.world, self.reporter = objective.engine.world, objective.reporter
        self.writer, self.notice, self.beat = writer, notice, beat
        self.prefix = f"{objective.name}, " if objective.name else ""
        self.skipped = SkippedSteps(
            config.safety.max_skipped_steps, state.skipped_steps, self.reporter.dumps
        )
        self.saved_step = state.step
        self.evaluated_step = state.step if state.evaluated_step is None else state.evaluated_step
        self.tokens, self.learning_rate = state.tokens, state.learning_rate
        self.started = time.monotonic() - 60 * state.elapsed_minutes

    @property
    def elapsed_minutes(self) -> float:
        """Training time so far, that of earlier starts included."""
        return (time.monotonic() - self.started) / 60

    @only_new_objects_collected()
    def run(self) -> None:
        """All steps that are left.

        Raises:
            Preempted: `notice` was given on some rank; the state is saved.
            RunError: on all ranks: the gradient is not finite for good, or the data is damaged.
        """
        config, step, last = self.config, self.state.step, self.schedule.total_steps
        window = Window(self.world.device)
        self.engine.train()
        rank, size, device = self.world.rank, self.world.size, self.world.device
        steps = self.objective.data.prefetched(step, last, rank, size, device)
        for batches in self.objective.guarded(steps):
            progress = self._progress(step)
            if progress >= 1:
                break
            self.beat(f"{self.prefix}step {step}")
            divisors, notices = self.agree(batches)
            # One step at least: a job that is stopped as it begins, again and again, gets on.
            if notices and step > self.state.step:
                self._leave(step, window)
            window.progress = progress
            self.take_step(step, batches, divisors, window)
            step += 1
            saves = step % config.checkpoint.every_steps == 0
            # What is saved is known: a resume must count the same skipped steps.
            if step % config.log_every_steps == 0 or saves or step == last:
                window = self._log(step, window)
            is_due = self.objective.evaluates_at(step) or step == last
            if is_due and self.evaluate(step, window):
                break
            if saves:
                self._save(step, window)
        self._finish(step, window)

    def agree(self, batches: list[Batch]) -> tuple[tuple[float, ...], float]:
        """(what a step's losses are divided by, how many ranks are to leave), on all ranks alike;
        one word from rank to rank tells both."""
        # Through the host: a value on the device would be waited for at every step, while what a
        # batch holds is known here before anything is computed.
        own = self.objective.counts(batches)
        *counts, notices = self.world.sum_on_host(*own, self.notice.is_given())
        return self.objective.divisors(counts), notices

    def take_step(
        self, step: int, batches: list[Batch], divisors: tuple[float, ...], window: Window
    ) -> None:
        """One optimizer step on this rank's micro-batches."""
        self.objective.begin(step)
        device = self.world.device
        with self.engine.casts_kept():
            for number, batch in enumerate(batches):
                # Native dropout (CUDA) draws from the generator seeded here; on a CPU the batch's
                # keys decide.
                place = self.world.rank + number * self.world.size
                torch.manual_seed(key_64(self.objective.seed, Purpose.DROPOUT, step, place))
                share = self.objective.share(batch, divisors)
                self.engine.backward(share.loss, is_last=number == len(batches) - 1)
                tokens = torch.full((), len(batch.tokens_T), device=device)
                window.add(step, share.loss, {**share.figures, "tokens": tokens}, share.flops)
        peak = self.config.optimizer.learning_rate
        self.learning_rate = self.schedule.learning_rate(peak, step, window.progress)
        window.close_step(step, self.engine.step(self.learning_rate), self.learning_rate)

    def evaluate(self, step: int, window: Window | None = None) -> bool:
        """Score held-out examples, off the window's clock; returns whether training ends here."""
        began, self.evaluated_step = time.monotonic(), step
        self.beat(f"{self.prefix}evaluation at step {step}")
        ends = self.objective.evaluate(step)
        # A picture's axes and figure refer to each other: 4 MB that only a full collection finds,
        # and a training loop makes too few objects to bring one about.
        gc.collect()
        if window is not None:
            window.started += time.monotonic() - began
        return ends

    def _progress(self, step: int) -> float:
        """The same on all ranks; asks rank 0's clock only where the clock decides."""
        if self.schedule.total_steps is not None:
            return self.schedule.progress(step, 0.0)
        return self.schedule.progress(step, self.world.from_main(self.elapsed_minutes))

    def _log(self, step: int, window: Window) -> Window:
        """Report the window that ends with `step`; returns the next one.

        Raises:
            RunError: too many steps in a row had no finite gradient.
        """
        reading = window.read()
        if reading.taken:
            self.reporter.train(self._summary(step, window, reading))
        if reading.skipped:
            total = self.skipped.total + len(reading.skipped)
            self.reporter.skipped(step, reading.skipped, total)
            for number in reading.skipped:
                batches = self.objective.data.step(number, self.world.rank, self.world.size)
                self.reporter.dump(number, self.world.rank, batches, window.losses(number))
        self.skipped.add(reading.skipped, step)
        give_memory_back()
        return Window(self.world.device)

    def _summary(self, step: int, window: Window, reading: Reading) -> Summary:
        sums = dict(zip(reading.names, self.world.sum(reading.sums).tolist()))
        tokens = sums.pop("tokens")
        self.tokens += tokens
        seconds = time.monotonic() - window.started
        return Summary(
            step=step,
            minutes=self.elapsed_minutes,
            means={name: value / reading.taken for name, value in sums.items()},
            learning_rate=window.learning_rate,
            gradient_norm=reading.norm,
            tokens=self.tokens,
            tokens_per_second=tokens / seconds,
            flops_per_second=reading.flops / seconds,
            memory=memory_held(self.world.device),
        )

    def _save(self, step: int, window: Window | None = None) -> None:
        """Write a checkpoint, or begin to, off the window's clock."""
        began, self.saved_step = time.monotonic(), step
        beat = partial(self.beat, f"{self.prefix}checkpoint at step {step}")
        beat()
        self.objective.certify(step, beat)
        extra, tensors = self.objective.extra_state()
        state = replace(
            self.state,
            step=step,
            skipped_steps=self.skipped.total,
            elapsed_minutes=self.elapsed_minutes,
            tokens=self.tokens,
            learning_rate=self.learning_rate,
            evaluated_step=self.evaluated_step,
            extra=extra,
        )
        # Records first: a resume drops those after its checkpoint, and could not make up for
        # missing ones before it.
        self.reporter.log.flush()
        self.writer.save(self.engine, state, tensors)
        if window is not None:
            window.started += time.monotonic() - began

    def _finish(self, step: int, window: Window) -> None:
        """Log, evaluate and save what the last step left open."""
        if len(window):
            self._log(step, window)
        # A run that was cut between its last step and its end has these still to do, and a resume
        # at the last step comes here at once.
        is_scored = self.evaluated_step == step
        if not is_scored:
            self.evaluate(step)
        self.objective.finish(step)
        if self.objective.saves_last_step and not (is_scored and self.saved_step == step):
            self._save(step)
        self.writer.wait()
        if self.world.is_main:
            self.writer.prune(step)  # a kill may have come between the last save and this

    def _leave(self, step: int, window: Window) -> None:
        """Save what was done and raise `Preempted`, on all ranks together."""
        if len(window):
            self._log(step, window)
        if self.saved_step != step:
            self._save(step)
        self.writer.wait()
        self.notice.leave(self.world, step, self.prefix)
