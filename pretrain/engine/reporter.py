"""What people watch and programs read of a training run: lines, metrics, dumps, pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.system.notes import optional
from configs.system.run_folder import RunFolder
from pretrain.batch import MicroBatch
from pretrain.engine.machine import Peak
from pretrain.engine.skipped import write_dump
from pretrain.optim.schedule import Schedule
from pretrain.run.figures import plot_curves
from pretrain.run.log import RunLog, duration
from pretrain.run.plateau import Plateau
from tokenizer.base import Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """The steps since the last log line, over all ranks; skipped ones left out."""

    step: int
    """steps done in the run so far"""
    minutes: float
    """training time of the run so far"""
    means: dict[str, float]
    """of every figure of the objective, by its name in metrics.jsonl"""
    learning_rate: float
    gradient_norm: float
    """of the last step, before clipping"""
    tokens: float
    """of the run so far"""
    tokens_per_second: float
    flops_per_second: float
    """of this rank"""
    memory: dict[str, float]
    """that this process holds, as `memory_held` tells"""


class Reporter:
    """The log of one training run in `folder`, and its lines on the console.

    Args:
        name: stands in front of lines where a process trains several models.
    """

    def __init__(
        self, log: RunLog, folder: Path, schedule: Schedule, tokenizer: Tokenizer, name: str = ""
    ) -> None:
        self.log, self.folder, self.schedule, self.tokenizer = log, folder, schedule, tokenizer
        self.dumps = RunFolder(folder).dumps
        self.prefix = f"{name}  " if name else ""

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        logger.info(f"{self.prefix}{text}")

    def train(self, summary: Summary) -> None:
        """A record of metrics.jsonl and a line on the console."""
        values = self.metrics(summary)
        self.log.record("train", summary.step, values)
        step, minutes = summary.step, summary.minutes
        left = duration(60 * self.schedule.minutes_left(step, minutes))
        total = f"/{self.schedule.total_steps}" if self.schedule.total_steps else ""
        self.say(
            f"step {step:>6}{total}  {self.schedule.progress(step, minutes):4.0%}  "
            f"{self.shown(values)}lr {summary.learning_rate:.1e}  "
            f"norm {summary.gradient_norm:5.2f}  {summary.tokens_per_second:>9,.0f} tokens/s  "
            + (f"MFU {values['mfu']:4.0%}  " if "mfu" in values else "")
            + f"left {left}"
        )

    def metrics(self, summary: Summary) -> dict[str, float]:
        """What metrics.jsonl keeps of a summary."""
        return {
            **summary.means,
            "learning_rate": summary.learning_rate,
            "gradient_norm": summary.gradient_norm,
            "tokens_per_second": summary.tokens_per_second,
            **summary.memory,
        }

    def shown(self, values: dict[str, float]) -> str:
        """The part of a line that tells how well the model does, two spaces at its end."""
        return f"loss {values['loss']:6.4f}  "

    def skipped(self, step: int, steps: Sequence[int], total: int) -> None:
        """Which steps of those up to `step` changed nothing; `total` in the run so far."""
        self.log.record("skipped", step, {"steps": len(steps), "total": total})
        self.say(
            f"step {step:>6}  skipped {list(steps)}: loss or gradient not finite "
            f"({total} so far); what was seen is in {self.dumps}"
        )

    def dump(
        self, step: int, rank: int, batches: Sequence[MicroBatch], losses: Sequence[float]
    ) -> None:
        """What this rank saw in a step that was skipped, and the loss of each micro-batch."""
        write_dump(self.dumps, step, rank, batches, losses, self.tokenizer)


class PretrainingReporter(Reporter):
    """Says masked-language-model figures; `peak` is what the device can do."""

    def __init__(
        self, log: RunLog, folder: Path, schedule: Schedule, tokenizer: Tokenizer, peak: Peak
    ) -> None:
        super().__init__(log, folder, schedule, tokenizer)
        self.peak = peak

    def metrics(self, summary: Summary) -> dict[str, float]:
        """Tokens so far and MFU as well."""
        mfu = self.peak.share(summary.flops_per_second)
        return {**super().metrics(summary), "tokens": summary.tokens, "mfu": mfu}

    def shown(self, values: dict[str, float]) -> str:
        """Loss and accuracies."""
        nsp = f"nsp {values['nsp_accuracy']:4.0%}  " if "nsp_accuracy" in values else ""
        return f"loss {values['mlm_loss']:6.3f}  accuracy {values['mlm_accuracy']:5.1%}  {nsp}"

    def baseline(self, loss: float) -> None:
        """What the text's unigram distribution scores, for the log and the plot."""
        self.log.record("baseline", 0, {"unigram_loss": loss})
        self.say(f"held-out loss of the unigram distribution: {loss:.3f}")

    def heldout(self, step: int, scores: dict[str, float]) -> None:
        """An evaluation: a record, a line, and the picture."""
        self.log.record("heldout", step, scores)
        nsp = f"  nsp {scores['nsp_accuracy']:.1%}" if "nsp_accuracy" in scores else ""
        self.say(
            f"step {step:>6}  held-out: loss {scores['mlm_loss']:.3f}  "
            f"perplexity {scores['perplexity']:,.1f}  accuracy {scores['mlm_accuracy']:.1%}  "
            f"bits per byte {scores['bits_per_byte']:.3f}{nsp}"
        )
        if parts := by_source(scores):
            self.say(f"step {step:>6}  held-out by source: {parts}")
        self.draw()

    def draw(self) -> None:
        """The curves so far, as a picture."""
        if self.log.is_main:
            run = RunFolder(self.folder)
            with optional(str(run.curves)):
                plot_curves(run.read_metrics(), run.curves, self.folder.name)

    def words(self, step: int, scores: dict[str, float]) -> None:
        """What the model scores on words that every tokenizer is asked for."""
        self._record_once("words", step, scores)
        lost = f", {scores['words_lost']:,.0f} more lost" if scores["words_lost"] else ""
        self.say(
            f"step {step:>6}  held-out words: bits per byte {scores['word_bits_per_byte']:.3f}  "
            f"(unigram {scores['word_unigram_bits_per_byte']:.3f}; {scores['words']:,.0f} words"
            f"{lost})"
        )
        if parts := by_source(scores):
            self.say(f"step {step:>6}  held-out words by source: {parts}")

    def plateau(self, step: int) -> None:
        """When the run left the unigram distribution behind, or that it has not."""
        if not self.log.is_main:
            return
        plateau = Plateau.of(RunFolder(self.folder).read_metrics())
        if plateau is not None:
            self._record_once("plateau", step, plateau.values)
            self.say(f"step {step:>6}  {plateau}")

    def _record_once(self, kind: str, step: int, values: dict[str, float]) -> None:
        """A record that a start after a kill behind the last checkpoint finds there already."""
        if self.log.is_main:
            records = RunFolder(self.folder).read_metrics()
            if not any((r["kind"], r["step"]) == (kind, step) for r in records):
                self.log.record(kind, step, values)


SHOWN_BY_SOURCE = {
    "mlm_loss": ("loss", ".3f"),
    "mlm_accuracy": ("accuracy", ".1%"),
    "bits_per_byte": ("bits per byte", ".3f"),
    "word_bits_per_byte": ("bits per byte", ".3f"),
}
"""figures that a line has for each source: what they are called there, and their digits"""


def by_source(scores: dict[str, float]) -> str:
    """Figures called `mlm_loss/NAME` and the like, source by source; empty where there are none."""
    parts: dict[str, list[str]] = {}
    for key, value in scores.items():
        figure, _, name = key.partition("/")
        if name and figure in SHOWN_BY_SOURCE:
            label, digits = SHOWN_BY_SOURCE[figure]
            parts.setdefault(name, []).append(f"{label} {value:{digits}}")
    return "; ".join(f"{name} {', '.join(figures)}" for name, figures in parts.items())
