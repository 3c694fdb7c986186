"""The training loop, from a configuration to a run folder."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from configs.errors import InputError
from configs.files import write_text
from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.batches import Batches, heldout_batches
from pretrain.data.collate import Collator
from pretrain.data.prepare import Corpus, prepare
from pretrain.data.word2vec import word_vectors
from pretrain.engine import checkpoint, describe, export
from pretrain.engine.assemble import make_model, make_vocabulary
from pretrain.engine.engine import Engine
from pretrain.engine.evaluate import evaluate, unigram_loss
from pretrain.engine.log import RunLog, duration, read_metrics
from pretrain.engine.plots import plot_curves
from pretrain.engine.pretrained import load_initial
from pretrain.engine.world import World
from pretrain.model.flops import matmul_peak, training_flops
from pretrain.model.pretraining import initialise, set_embeddings
from pretrain.optim.schedule import Plan
from pretrain.randomness import Purpose, key_64


def pretrain(config: PretrainConfig, world: World) -> Path:
    """Train, evaluate, save and export; returns the run folder.

    Raises:
        InputError: for everything that the user can cure, before any step is taken.
    """
    run_dir = Path(config.run_dir)
    corpus = prepare(config)
    # Ranks must not judge files by themselves: one that saw another checkpoint would diverge.
    found = world.from_main(find_checkpoint(config, run_dir) if world.is_main else None)
    trainer = Trainer(config, world, corpus, found)
    if world.is_main:
        describe.write_run_folder(run_dir, config, corpus, world, trainer.engine.precision)
    try:
        write_status(run_dir, "running")
        trainer.run()
        if world.is_main:
            export.export_run(run_dir, run_dir / "export")
            write_status(run_dir, "completed")
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        write_status(run_dir, "interrupted" if interrupted else "failed")
        raise
    finally:
        trainer.log.close()
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
    """What happened since the last log line; `sums` holds this rank's part, on the device."""

    sums: Tensor
    started: float
    flops: float = 0.0
    steps: int = 0
    norm: Tensor | float = 0.0
    learning_rate: float = 0.0
    progress: float = 0.0

    @classmethod
    def open(cls, device: torch.device) -> Window:
        """An empty window that starts now."""
        return cls(torch.zeros(5, dtype=torch.float64, device=device), time.monotonic())

    def add(self, norm: Tensor | float, learning_rate: float, progress: float) -> None:
        """One step more; the last one's norm and rate are shown."""
        self.steps += 1
        self.norm, self.learning_rate, self.progress = norm, learning_rate, progress


class Trainer:
    """Holds what a step needs. Everything random is a function of the step (law 1)."""

    def __init__(
        self, config: PretrainConfig, world: World, corpus: Corpus, found: Path | None
    ) -> None:
        self.config, self.world, self.corpus = config, world, corpus
        self.run_dir = Path(config.run_dir)
        vocabulary = make_vocabulary(corpus.tokenizer)
        self.batches = Batches(Collator(corpus.train, config, vocabulary))
        self.heldout_collate = Collator(corpus.heldout, config, vocabulary)
        self.heldout = heldout_batches(self.heldout_collate, world.rank, world.size)
        self.plan = Plan.make(
            config.schedule, self.batches.steps_per_epoch, self.batches.tokens_per_epoch
        )
        fingerprints = describe.fingerprints(config, corpus)
        state = (
            checkpoint.read_state(found, fingerprints)
            if found
            else checkpoint.State(0, fingerprints=fingerprints, store=str(corpus.folder))
        )
        model = make_model(config, corpus.tokenizer)
        initialise(model, config.model, config.seed)
        if config.embeddings.initial == "word2vec" and not found:
            set_embeddings(model, word_vectors(config, corpus), config.embeddings.scale)
        if config.initial_model and not found:
            load_initial(model, config.initial_model, corpus.tokenizer)
        self.engine = Engine(model.to(world.device), config, world, state.precision)
        self.state = replace(state, precision=self.engine.precision)
        if found:
            checkpoint.restore(found, self.engine, state)
        self.evaluated_step = self.saved_step = state.step
        self.started = time.monotonic() - 60 * state.elapsed_minutes
        self.log = RunLog(self.run_dir, world.is_main, state.step)
        self.peak_flops = matmul_peak(world.device, self.engine.precision)

    def run(self) -> None:
        """All steps that are left, with logs, evaluations and checkpoints on the way."""
        if self.world.is_main:
            self.log.say(describe.decisions(self))
        if self.state.step == 0:
            self._baseline()
        config, step, last = self.config, self.state.step, self.plan.total_steps
        window = Window.open(self.world.device)
        self.engine.train()
        for batches in self.batches.prefetched(step, last, self.world.rank, self.world.size):
            progress = self._progress(step)
            if progress >= 1:
                break
            factor = self.plan.learning_rate_factor(progress)
            learning_rate = config.optimizer.learning_rate * factor
            window.add(self._step(step, batches, learning_rate, window), learning_rate, progress)
            step += 1
            saves = step % config.checkpoint.every_steps == 0
            # What is saved has been found finite: a checkpoint must be worth going back to.
            if step % config.log_every_steps == 0 or saves or step == last:
                window = self._log(step, window)
            if step % config.evaluation.every_steps == 0:
                window.started += self._evaluate(step)
            if saves:
                window.started += self._save(step)
        self._finish(step, window)

    def _finish(self, step: int, window: Window) -> None:
        """Log, evaluate and save what the last step left open."""
        if window.steps:
            self._log(step, window)
        if self.evaluated_step != step:
            self._evaluate(step)
        if self.saved_step != step:
            self._save(step)

    def _progress(self, step: int) -> float:
        """The same on all ranks; asks rank 0's clock only where the clock decides."""
        if self.plan.total_steps is not None:
            return self.plan.progress(step, 0.0)
        return self.plan.progress(step, self.world.from_main(self._elapsed_minutes()))

    def _step(
        self, step: int, batches: list[MicroBatch], learning_rate: float, window: Window
    ) -> Tensor | float:
        """One optimizer step on this rank's micro-batches; returns the gradient norm."""
        device = self.world.device
        predicted, pairs = self._global_counts(batches)
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
                    torch.full((), float(len(batch.tokens_T)), device=device),
                ]
            )
            window.flops += training_flops(self.engine.model, batch)
        return self.engine.step(learning_rate)

    def _global_counts(self, batches: list[MicroBatch]) -> Tensor:
        """Predicted tokens and labelled pairs of the step on all ranks, at least 1 each; (2,)."""
        predicted = sum(len(batch.labels_M) for batch in batches)
        pairs = sum(int((batch.next_sentence_B >= 0).sum()) for batch in batches)
        counts = torch.tensor([predicted, pairs])
        return self.world.sum(counts.to(self.world.device, non_blocking=True)).clamp(min=1)

    def _log(self, step: int, window: Window) -> Window:
        """Metrics of the window that ends with `step`; returns the next one.

        Raises:
            FloatingPointError: the loss or the gradient is not finite.
        """
        loss, accuracy, nsp_loss, nsp_accuracy, tokens = self.world.sum(window.sums).tolist()
        seconds = time.monotonic() - window.started
        values = {
            "mlm_loss": loss / window.steps,
            "mlm_accuracy": accuracy / window.steps,
            "learning_rate": window.learning_rate,
            "gradient_norm": float(window.norm),
            "tokens_per_second": tokens / seconds,
            "mfu": window.flops / seconds / self.peak_flops,
        }
        if self.config.next_sentence_prediction:
            values["nsp_loss"] = nsp_loss / window.steps
            values["nsp_accuracy"] = nsp_accuracy / window.steps
        self.log.record("train", step, values)
        self.log.say(self._console_line(step, values, window.progress))
        if not math.isfinite(values["mlm_loss"]) or not math.isfinite(values["gradient_norm"]):
            raise FloatingPointError(
                f"loss or gradient is not finite at step {step}: lower optimizer.learning_rate or "
                "lengthen the warm-up; the last checkpoint in run_dir is from before"
            )
        return Window.open(self.world.device)

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
        """What the text's unigram distribution scores, for the log and the plot."""
        if self.world.is_main:
            loss = unigram_loss(self.corpus.train, heldout_batches(self.heldout_collate))
            self.log.record("baseline", 0, {"unigram_loss": loss})
            self.log.say(f"held-out loss of the unigram distribution: {loss:.3f}")
        self._evaluate(0)

    def _evaluate(self, step: int) -> float:
        """Score the held-out text; returns the seconds it took."""
        started, self.evaluated_step = time.monotonic(), step
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
        started, self.saved_step = time.monotonic(), step
        state = replace(self.state, step=step, elapsed_minutes=self._elapsed_minutes())
        folder = self.run_dir / "checkpoints"
        checkpoint.save(folder, self.engine, state, self.config.checkpoint.keep)
        return time.monotonic() - started

    def _elapsed_minutes(self) -> float:
        return (time.monotonic() - self.started) / 60


def write_status(run_dir: Path, status: str) -> None:
    """The one word in `run_dir/status`; any rank may write it: the one that fails may not be 0."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(run_dir / "status", f"{status}\n")
