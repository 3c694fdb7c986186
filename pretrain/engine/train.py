"""The training loop, from a configuration to a run folder."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from configs.errors import InputError
from configs.files import write_text
from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.batches import Batches, heldout_batches
from pretrain.data.collate import Collator
from pretrain.data.prepare import Corpus, prepare
from pretrain.engine import checkpoint, describe, export
from pretrain.engine.assemble import make_model, make_vocabulary
from pretrain.engine.engine import Engine
from pretrain.engine.evaluate import evaluate, unigram_loss
from pretrain.engine.log import RunLog, duration, read_metrics
from pretrain.engine.plots import plot_curves
from pretrain.engine.world import World
from pretrain.model.flops import matmul_peak, training_flops
from pretrain.model.pretraining import initialise
from pretrain.optim.schedule import Plan
from pretrain.randomness import Purpose, key_64


def pretrain(config: PretrainConfig, world: World) -> Path:
    """Train, evaluate, save and export; returns the run folder.

    Raises:
        InputError: for everything that the user can cure, before any step is taken.
    """
    run_dir = Path(config.run_dir)
    corpus = prepare(config)
    found = find_checkpoint(config, run_dir)
    trainer = Trainer(config, world, corpus, found)
    if world.is_main:
        describe.write_run_folder(run_dir, config, corpus, world)
    status = run_dir / "status"
    try:
        _write_status(status, "running", world)
        trainer.run()
        if world.is_main:
            export.export_run(run_dir, run_dir / "export")
        _write_status(status, "completed", world)
    except BaseException:
        _write_status(status, "failed", world)
        raise
    trainer.log.say(f"done: curves {run_dir}/plots/curves.png, model {run_dir}/export")
    return run_dir


def find_checkpoint(config: PretrainConfig, run_dir: Path) -> Path | None:
    """Where to go on from, by `checkpoint.resume`; None starts anew."""
    folder, resume = run_dir / "checkpoints", config.checkpoint.resume
    if resume == "auto":
        return checkpoint.find_last(folder)
    if resume == "never":
        if checkpoint.list_checkpoints(folder):
            raise InputError(
                f"{folder} holds checkpoints but checkpoint.resume=never: choose another run_dir "
                "or checkpoint.resume=auto"
            )
        return None
    damage = checkpoint.find_damage(Path(resume))
    if damage:
        raise InputError(f"checkpoint.resume={resume}: no whole checkpoint ({damage})")
    return Path(resume)


@dataclass
class Window:
    """Sums since the last log line; `sums` holds this rank's part, on the device."""

    sums: torch.Tensor
    started: float
    flops: float = 0.0
    steps: int = 0

    @classmethod
    def open(cls, device: torch.device) -> Window:
        return cls(torch.zeros(5, dtype=torch.float64, device=device), time.monotonic())


class Trainer:
    """Holds what a step needs. Everything random is a function of the step (law 1)."""

    def __init__(
        self, config: PretrainConfig, world: World, corpus: Corpus, found: Path | None
    ) -> None:
        self.config, self.world, self.corpus = config, world, corpus
        self.run_dir = Path(config.run_dir)
        vocabulary = make_vocabulary(corpus.tokenizer)
        collate = Collator(corpus.train, config, vocabulary)
        self.batches = Batches(collate)
        self.heldout = heldout_batches(
            Collator(corpus.heldout, config, vocabulary), world.rank, world.size
        )
        tokens_per_epoch = int(collate.index(0).lengths.sum())
        self.plan = Plan.make(config.schedule, self.batches.steps_per_epoch, tokens_per_epoch)
        self.fingerprints = describe.fingerprints(config, corpus)
        self.state = (
            checkpoint.read_state(found, self.fingerprints) if found else checkpoint.State(step=0)
        )
        model = make_model(config, corpus.tokenizer)
        initialise(model, config.model, config.seed)
        self.engine = Engine(model.to(world.device), config, world)
        if found:
            checkpoint.restore(found, self.engine, self.state)
        self.log = RunLog(self.run_dir, world.is_main, self.state.step)
        self.peak_flops = matmul_peak(world.device, self.engine.precision)

    def run(self) -> None:
        """All steps that are left, with logs, evaluations and checkpoints on the way."""
        self.log.say(describe.decisions(self))
        if self.state.step == 0:
            self._baseline()
        self.started = time.monotonic() - 60 * self.state.elapsed_minutes
        window = Window.open(self.world.device)
        first, last = self.state.step, self.plan.total_steps
        step = first
        self.engine.train()
        for batches in self.batches.prefetched(first, last, self.world.rank, self.world.size):
            progress = self.plan.progress(step, self.world.from_main(self._elapsed_minutes()))
            if progress >= 1:
                break
            factor = self.plan.learning_rate_factor(progress)
            learning_rate = self.config.optimizer.learning_rate * factor
            norm = self._step(step, batches, learning_rate, window)
            step += 1
            if step % self.config.log_every_steps == 0:
                self._log(step, window, learning_rate, norm, progress)
                window = Window.open(self.world.device)
            if step % self.config.evaluation.every_steps == 0 and step != last:
                window.started += self._evaluate(step)
            if step % self.config.checkpoint.every_steps == 0 and step != last:
                window.started += self._save(step)
        if step > first:
            self._evaluate(step)
            self._save(step)

    def _step(
        self, step: int, batches: list[MicroBatch], learning_rate: float, window: Window
    ) -> torch.Tensor | float:
        """One optimizer step on this rank's micro-batches; returns the gradient norm."""
        device = self.world.device
        counts = [
            sum(len(batch.labels_M) for batch in batches),
            sum(int((batch.next_sentence_B >= 0).sum()) for batch in batches),
        ]
        predicted, pairs = self.world.sum(torch.tensor(counts, device=device)).clamp(min=1)
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
            window.sums += torch.stack(
                [
                    sums.mlm_loss_sum.detach() / predicted,
                    sums.mlm_correct / predicted,
                    sums.nsp_loss_sum.detach() / pairs,
                    sums.nsp_correct / pairs,
                    torch.tensor(float(len(batch.tokens_T)), device=device),
                ]
            )
            window.flops += training_flops(self.engine.model, batch)
        window.steps += 1
        return self.engine.step(learning_rate)

    def _log(self, step: int, window: Window, learning_rate: float, norm, progress: float) -> None:
        """Metrics of the window that ends with `step`; stops a run whose loss is not finite."""
        loss, accuracy, nsp_loss, nsp_accuracy, tokens = self.world.sum(window.sums).tolist()
        seconds = time.monotonic() - window.started
        values = {
            "mlm_loss": loss / window.steps,
            "mlm_accuracy": accuracy / window.steps,
            "learning_rate": learning_rate,
            "gradient_norm": float(norm),
            "tokens_per_second": tokens / seconds,
            "mfu": window.flops / seconds / self.peak_flops,
        }
        if self.config.next_sentence_prediction:
            values["nsp_loss"] = nsp_loss / window.steps
            values["nsp_accuracy"] = nsp_accuracy / window.steps
        self.log.record("train", step, values)
        self.log.say(self._console_line(step, values, progress))
        if not math.isfinite(values["mlm_loss"]):
            raise FloatingPointError(
                f"the loss is not finite at step {step}: lower optimizer.learning_rate or lengthen "
                "the warm-up; the last checkpoint in run_dir is from before"
            )

    def _console_line(self, step: int, values: dict[str, float], progress: float) -> str:
        left = self._elapsed_minutes() * 60 * (1 - progress) / progress
        total = f"/{self.plan.total_steps}" if self.plan.total_steps else ""
        nsp = f"nsp {values['nsp_accuracy']:4.0%}  " if "nsp_accuracy" in values else ""
        return (
            f"step {step:>6}{total}  {progress:4.0%}  loss {values['mlm_loss']:6.3f}  "
            f"accuracy {values['mlm_accuracy']:5.1%}  {nsp}lr {values['learning_rate']:.1e}  "
            f"norm {values['gradient_norm']:5.2f}  {values['tokens_per_second']:>9,.0f} tokens/s  "
            f"MFU {values['mfu']:4.0%}  left {duration(max(0.0, left))}"
        )

    def _baseline(self) -> None:
        """What a model that ignores the context would score, for the log and the plot."""
        everything = heldout_batches(
            Collator(self.corpus.heldout, self.config, make_vocabulary(self.corpus.tokenizer))
        )
        loss = unigram_loss(self.corpus.train, everything)
        self.log.record("baseline", 0, {"unigram_loss": loss})
        self.log.say(f"held-out loss of the unigram distribution: {loss:.3f}")
        self._evaluate(0)

    def _evaluate(self, step: int) -> float:
        """Score the held-out text; returns the seconds it took."""
        started = time.monotonic()
        scores = evaluate(self.engine, self.heldout, self.corpus.heldout)
        self.log.record("heldout", step, scores)
        nsp = f"  nsp {scores['nsp_accuracy']:.1%}" if "nsp_accuracy" in scores else ""
        self.log.say(
            f"step {step:>6}  held-out: loss {scores['mlm_loss']:.3f}  "
            f"perplexity {scores['perplexity']:,.1f}  accuracy {scores['mlm_accuracy']:.1%}  "
            f"bits per byte {scores['bits_per_byte']:.3f}{nsp}"
        )
        if self.world.is_main and step:
            records = read_metrics(self.log.path)
            plot_curves(records, self.run_dir / "plots" / "curves.png", self.run_dir.name)
        return time.monotonic() - started

    def _save(self, step: int) -> float:
        """Write a checkpoint; returns the seconds it took."""
        started = time.monotonic()
        state = checkpoint.State(step, self._elapsed_minutes(), self.fingerprints)
        folder = self.run_dir / "checkpoints"
        checkpoint.save(folder, self.engine, state, self.config.checkpoint.keep)
        return time.monotonic() - started

    def _elapsed_minutes(self) -> float:
        return (time.monotonic() - self.started) / 60


def _write_status(path: Path, status: str, world: World) -> None:
    if world.is_main:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{status}\n")
