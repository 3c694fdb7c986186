"""The training loop."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from configs.schema import PretrainConfig
from configs.system.notes import optional
from pretrain.batch import MicroBatch
from pretrain.data.batches import heldout_batches
from pretrain.data.collate import Collator
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.data.prepare import Corpus
from pretrain.data.verification import Verification
from pretrain.data.word2vec import word_vectors
from pretrain.engine.certify import Certifier
from pretrain.engine.engine import Engine
from pretrain.engine.evaluate import evaluate, unigram_loss
from pretrain.engine.log_window import Reading, Window
from pretrain.engine.machine import Peak, Remembered
from pretrain.engine.memory import memory_held
from pretrain.engine.precision import choose_precision
from pretrain.engine.skipped import SkippedSteps, write_dump
from pretrain.model.flops import training_flops
from pretrain.model.pretraining import PretrainingModel, initialise, make_model, set_embeddings
from pretrain.optim.schedule import Schedule
from pretrain.randomness import Purpose, key_64
from pretrain.ranks.agreement import Agreement, heard
from pretrain.ranks.checksums import require_same
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.process import give_memory_back
from pretrain.ranks.watchdog import Watchdog
from pretrain.ranks.world import World
from pretrain.run import checkpoint, describe
from pretrain.run.log import RunLog, duration, read_metrics
from pretrain.run.opening import Opening
from pretrain.run.plots import plot_curves
from pretrain.run.pretrained import load_initial

logger = logging.getLogger(__name__)

SUMS = ("loss", "correct", "nsp_loss", "nsp_correct", "tokens")
"""what a window adds up: this rank's part"""


class Trainer:
    """Holds what a step needs. Everything random is a function of the step (law 1)."""

    def __init__(
        self,
        config: PretrainConfig,
        world: World,
        corpus: Corpus,
        found: Path | None,
        notice: PreemptionNotice,
        watchdog: Watchdog,
        agreement: Agreement | None = None,
        certifier: Certifier | None = None,
    ) -> None:
        """`found` is the checkpoint to go on from; `notice` tells when to leave early; `agreement`
        is what ranks have compared so far; without a `certifier` no data is verified."""
        self.config, self.world, self.corpus = config, world, corpus
        self.notice, self.watchdog = notice, watchdog
        self.agreement = agreement or Agreement(world)
        unverified = Verification(corpus.folder, config.data, mode="never")
        self.certifier = certifier or Certifier(world, corpus, unverified)
        self.run_dir = Path(config.run_dir)
        vocabulary = make_vocabulary(corpus.tokenizer)
        self.batches = PhasedBatches(corpus.train, config, vocabulary)
        self.heldout_collate = Collator(corpus.heldout, config, vocabulary)
        self.heldout = heldout_batches(self.heldout_collate, world.rank, world.size)
        self.schedule = Schedule.make(config.schedule, self.batches.phases)
        fingerprints = describe.fingerprints(config, corpus)
        state = (
            checkpoint.read_state(found, fingerprints, config.checkpoint.allow_changes)
            if found
            else checkpoint.State(0)
        )
        self.precision = choose_precision(
            config.engine.precision, world, config.data.cache, state.precision
        )
        self.engine = Engine(self._same_model(found), config, world, self.precision.name)
        self.state = replace(
            state,
            fingerprints=fingerprints,
            store=str(corpus.folder),
            precision=self.engine.precision,
            world_size=world.size,
            micro_sequences=config.batch.micro_sequences,
        )
        if found:
            checkpoint.restore(found, self.engine, state)
        self.writer = checkpoint.Writer(self.run_dir / "checkpoints", config.checkpoint)
        self.skipped = SkippedSteps(config.safety.max_skipped_steps, state.skipped_steps)
        self.evaluated_step = self.saved_step = state.step
        self.tokens = state.tokens
        self.started = time.monotonic() - 60 * state.elapsed_minutes
        self.log = RunLog(self.run_dir, world.is_main, state.step)
        memory = Remembered(world.device, config.data.cache) if world.is_main else None
        self.peak = Peak(world.device, self.engine.precision, memory)

    def run(self) -> None:
        """All steps that are left, with logs, evaluations and checkpoints on the way.

        Raises:
            Preempted: `notice` was given on some rank; the run is saved.
            RunError: on all ranks, where the data is damaged on one.
        """
        if self.world.is_main:
            logger.info(self._opening().text())
        if self.state.step == 0:
            self._baseline()
        config, step, last = self.config, self.state.step, self.schedule.total_steps
        window = Window(self.world.device, len(SUMS))
        self.engine.train()
        steps = self.batches.prefetched(step, last, self.world.rank, self.world.size)
        for batches in self.certifier.guarded(steps):
            progress = self._progress(step)
            if progress >= 1:
                break
            self.watchdog.beat(f"step {step}")
            predicted, pairs, notices = self.agree(batches)
            # One step at least: a job that is stopped as it begins, again and again, gets on.
            if notices and step > self.state.step:
                self._leave(step, window)
            window.progress = progress
            self.step(step, batches, predicted, pairs, window)
            step += 1
            saves = step % config.checkpoint.every_steps == 0
            # What is saved is known: a resume must count the same skipped steps.
            if step % config.log_every_steps == 0 or saves or step == last:
                window = self._log(step, window)
            if step % config.evaluation.every_steps == 0:
                window.started += self._evaluate(step)
            if saves:
                window.started += self._save(step)
        self._finish(step, window)

    def _opening(self) -> Opening:
        return Opening(
            config=self.config,
            world=self.world,
            corpus=self.corpus,
            batches=self.batches,
            schedule=self.schedule,
            model=self.engine.model,
            step=self.state.step,
            precision=self.engine.precision,
            precision_line=str(self.precision),
            peak_flops=self.peak.flops,
        )

    def _model(self, found: Path | None) -> PretrainingModel:
        """The model with its initial weights; those of a checkpoint come later."""
        config, corpus = self.config, self.corpus
        model = make_model(config, corpus.tokenizer)
        initialise(model, config.model, config.seed)
        if config.embeddings.initial == "word2vec" and not found:
            set_embeddings(model, word_vectors(config, corpus), config.embeddings.scale)
        if config.initial_model and not found:
            load_initial(model, config.initial_model, corpus.tokenizer)
        return model

    def _same_model(self, found: Path | None) -> PretrainingModel:
        """The model on the device, after all ranks have made the same one.

        DeepSpeed would give them rank 0's weights: a rank that read others would not be noticed.
        """
        with heard(self.world):
            model = self._model(found)
        name = self.config.initial_model
        what = f"initial_model={name}" if name else "a new model"
        require_same(self.world, dict(model.named_parameters()), what)
        return model.to(self.world.device)

    def _finish(self, step: int, window: Window) -> None:
        """Log, evaluate and save what the last step left open."""
        if len(window):
            self._log(step, window)
        if self.evaluated_step != step:
            self._evaluate(step)
        if self.saved_step != step:
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
        self.notice.leave(self.world, step)

    def _progress(self, step: int) -> float:
        """The same on all ranks; asks rank 0's clock only where the clock decides."""
        if self.schedule.total_steps is not None:
            return self.schedule.progress(step, 0.0)
        return self.schedule.progress(step, self.world.from_main(self._elapsed_minutes()))

    def agree(self, batches: list[MicroBatch]) -> tuple[float, float, float]:
        """(predicted tokens, labelled pairs, notices to leave) of a step on all ranks; the first
        two at least 1."""
        predicted = sum(len(batch.labels_M) for batch in batches)
        pairs = sum(int((batch.next_sentence_B >= 0).sum()) for batch in batches)
        flags = self.notice.is_given(), self.certifier.is_damaged
        counts = self.world.sum_on_host(predicted, pairs, *flags)
        if counts[3]:
            self.certifier.leave()
        return max(counts[0], 1.0), max(counts[1], 1.0), counts[2]

    def step(
        self,
        step: int,
        batches: list[MicroBatch],
        predicted: float,
        pairs: float,
        window: Window,
    ) -> None:
        """One optimizer step on this rank's micro-batches."""
        device = self.world.device
        for number, batch in enumerate(batches):
            # Native dropout (CUDA) draws from the generator seeded here; on a CPU the batch's keys
            # decide.
            place = self.world.rank + number * self.world.size
            torch.manual_seed(key_64(self.config.seed, Purpose.DROPOUT, step, place))
            sums = self.engine(batch.to(device))
            loss = sums.mlm_loss_sum / predicted
            if self.config.next_sentence_prediction:
                loss = loss + sums.nsp_loss_sum / pairs
            self.engine.backward(loss, is_last=number == len(batches) - 1)
            shares = [
                sums.mlm_loss_sum / predicted,
                sums.mlm_correct / predicted,
                sums.nsp_loss_sum / pairs,
                sums.nsp_correct / pairs,
                torch.full((), len(batch.tokens_T), device=device),
            ]
            window.add(step, shares, training_flops(self.engine.model, batch))
        peak = self.config.optimizer.learning_rate
        rate = self.schedule.learning_rate(peak, step, window.progress)
        window.close_step(step, self.engine.step(rate), rate)

    def _log(self, step: int, window: Window) -> Window:
        """Metrics of the window that ends with `step`; returns the next one.

        Raises:
            RunError: too many steps in a row had no finite gradient.
        """
        reading = window.read()
        if reading.taken:
            sums = self.world.sum(reading.sums).tolist()
            self.tokens += sums[-1]
            values = self._metrics(window, reading, sums)
            self.log.record("train", step, values)
            logger.info(self._console_line(step, values))
        if reading.skipped:
            self._explain_skipped(step, window, reading)
        self.skipped.add(reading.skipped, step)
        give_memory_back()
        return Window(self.world.device, len(SUMS))

    def _metrics(self, window: Window, reading: Reading, sums: list[float]) -> dict[str, float]:
        loss, accuracy, nsp_loss, nsp_accuracy = (value / reading.taken for value in sums[:4])
        seconds = time.monotonic() - window.started
        values = {
            "mlm_loss": loss,
            "mlm_accuracy": accuracy,
            "learning_rate": window.learning_rate,
            "gradient_norm": reading.norm,
            "tokens": self.tokens,
            "tokens_per_second": sums[4] / seconds,
            "mfu": self.peak.share(reading.flops / seconds),
            **memory_held(self.world.device),
        }
        if self.config.next_sentence_prediction:
            values |= {"nsp_loss": nsp_loss, "nsp_accuracy": nsp_accuracy}
        return values

    def _explain_skipped(self, step: int, window: Window, reading: Reading) -> None:
        """Say which steps were skipped and dump what each rank saw in them."""
        total = self.skipped.total + len(reading.skipped)
        self.log.record("skipped", step, {"steps": len(reading.skipped), "total": total})
        folder, world = self.run_dir / "dumps", self.world
        logger.info(
            f"step {step:>6}  skipped {list(reading.skipped)}: loss or gradient not finite "
            f"({total} so far); what was seen is in {folder}"
        )
        for number in reading.skipped:
            batches = self.batches.step(number, world.rank, world.size)
            losses, tokenizer = window.losses(number), self.corpus.tokenizer
            write_dump(folder, number, world.rank, batches, losses, tokenizer)

    def _console_line(self, step: int, values: dict[str, float]) -> str:
        minutes = self._elapsed_minutes()
        progress = self.schedule.progress(step, minutes)
        left = self.schedule.minutes_left(step, minutes)
        total = f"/{self.schedule.total_steps}" if self.schedule.total_steps else ""
        nsp = f"nsp {values['nsp_accuracy']:4.0%}  " if "nsp_accuracy" in values else ""
        return (
            f"step {step:>6}{total}  {progress:4.0%}  loss {values['mlm_loss']:6.3f}  "
            f"accuracy {values['mlm_accuracy']:5.1%}  {nsp}lr {values['learning_rate']:.1e}  "
            f"norm {values['gradient_norm']:5.2f}  {values['tokens_per_second']:>9,.0f} tokens/s  "
            f"MFU {values['mfu']:4.0%}  left {duration(60 * left)}"
        )

    def _baseline(self) -> None:
        """What the text's unigram distribution scores, for the log and the plot."""
        if self.world.is_main:
            loss = unigram_loss(self.corpus.train, heldout_batches(self.heldout_collate))
            self.log.record("baseline", 0, {"unigram_loss": loss})
            logger.info(f"held-out loss of the unigram distribution: {loss:.3f}")
        # New weights know nothing: theirs is the logarithm of the vocabulary's size.
        if self.config.initial_model or self.config.embeddings.initial != "random":
            self._evaluate(0)

    def _evaluate(self, step: int) -> float:
        """Score the held-out text; returns the seconds it took."""
        started, self.evaluated_step = time.monotonic(), step
        self.watchdog.beat(f"evaluation at step {step}")
        scores = evaluate(self.engine, self.heldout, self.corpus.heldout)
        self.log.record("heldout", step, scores)
        nsp = f"  nsp {scores['nsp_accuracy']:.1%}" if "nsp_accuracy" in scores else ""
        logger.info(
            f"step {step:>6}  held-out: loss {scores['mlm_loss']:.3f}  "
            f"perplexity {scores['perplexity']:,.1f}  accuracy {scores['mlm_accuracy']:.1%}  "
            f"bits per byte {scores['bits_per_byte']:.3f}{nsp}"
        )
        if self.world.is_main and step:
            picture = self.run_dir / "plots" / "curves.png"
            with optional(str(picture)):
                plot_curves(read_metrics(self.log.path), picture, self.run_dir.name)
        return time.monotonic() - started

    def _save(self, step: int) -> float:
        """Write a checkpoint, or begin to; returns the seconds it took."""
        started, self.saved_step = time.monotonic(), step
        beat = partial(self.watchdog.beat, f"checkpoint at step {step}")
        beat()
        self.certifier.certify(beat)
        if self.world.is_main:
            verified = self.certifier.verification.verified_bytes
            describe.note_verified(self.run_dir, step, verified)
        minutes = self._elapsed_minutes()
        state = replace(
            self.state,
            step=step,
            skipped_steps=self.skipped.total,
            elapsed_minutes=minutes,
            tokens=self.tokens,
        )
        self.log.flush()
        self.writer.save(self.engine, state)
        return time.monotonic() - started

    def _elapsed_minutes(self) -> float:
        return (time.monotonic() - self.started) / 60
