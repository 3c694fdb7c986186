"""What pretraining learns: masked words, and, where it is asked for, whether segments follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.phases import PhasedBatches
from pretrain.engine.certify import Certifier
from pretrain.engine.engine import Engine
from pretrain.engine.evaluate import Heldout
from pretrain.engine.objective import Objective, Share
from pretrain.engine.reporter import PretrainingReporter
from pretrain.model.flops import training_flops
from pretrain.model.pretraining import PretrainingModel
from pretrain.run import describe
from pretrain.run.checkpoint import Tensors
from pretrain.run.checkpoint_state import ROPE_THETA


class MlmObjective(Objective[MicroBatch]):
    """MLM, and NSP beside it, on text whose bytes a `certifier` verifies."""

    data: PhasedBatches
    reporter: PretrainingReporter

    def __init__(
        self,
        config: PretrainConfig,
        engine: Engine,
        data: PhasedBatches,
        heldout: Heldout,
        reporter: PretrainingReporter,
        certifier: Certifier,
    ) -> None:
        assert isinstance(engine.model, PretrainingModel)
        self.model: PretrainingModel = engine.model
        self.config, self.seed, self.world = config, config.seed, engine.world
        self.engine, self.data, self.heldout = engine, data, heldout
        self.schedule, self.reporter, self.certifier = reporter.schedule, reporter, certifier

    def begin(self, step: int) -> None:
        """The rotary angles are those of the step's phase."""
        self.model.encoder.set_rope_theta(self.data.rope_theta(step))

    def extra_state(self) -> tuple[dict[str, Any], Tensors]:
        """The base of the rotary angles, where phases have their own."""
        if all(phase.rope_theta is None for phase in self.config.phases):
            return {}, {}
        return {ROPE_THETA: self.model.encoder.rope_theta}, {}

    def counts(self, batches: Sequence[MicroBatch]) -> tuple[float, ...]:
        """Predicted tokens, labelled pairs, and whether the data is damaged."""
        predicted = sum(len(batch.labels_M) for batch in batches)
        pairs = sum(int((batch.next_sentence_B >= 0).sum()) for batch in batches)
        return predicted, pairs, self.certifier.is_damaged

    def divisors(self, counts: Sequence[float]) -> tuple[float, ...]:
        """Predicted tokens and labelled pairs of all ranks; ends the run where data is damaged."""
        predicted, pairs, damaged = counts
        if damaged:
            self.certifier.leave()
        return super().divisors((predicted, pairs))

    def share(self, batch: MicroBatch, divisors: tuple[float, ...]) -> Share:
        """Both losses; figures are those of the heads that the model has."""
        predicted, pairs = divisors
        sums = self.engine(batch.to(self.world.device))
        loss = sums.mlm_loss_sum / predicted
        figures = {"mlm_loss": loss, "mlm_accuracy": sums.mlm_correct / predicted}
        if self.config.next_sentence_prediction:
            nsp_loss = sums.nsp_loss_sum / pairs
            figures |= {"nsp_loss": nsp_loss, "nsp_accuracy": sums.nsp_correct / pairs}
            loss = loss + nsp_loss
        return Share(loss, figures, training_flops(self.model, batch))

    def guarded(self, steps: Iterator[list[MicroBatch]]) -> Iterator[list[MicroBatch]]:
        """The steps; none comes after one whose text is damaged."""
        return self.certifier.guarded(steps)

    def certify(self, step: int, beat: Callable[[], None]) -> None:
        """All text that was used has been verified, and the run folder says so."""
        self.certifier.certify(beat)
        if self.world.is_main:
            verified = self.certifier.verification.verified_bytes
            describe.note_verified(self.reporter.folder, step, verified)

    def baseline(self) -> None:
        """Report what the training text's unigram distribution scores on the held-out text."""
        if self.world.is_main:
            self.reporter.baseline(self.heldout.unigram_loss())

    def rehearse(self) -> None:
        """Let what would fail at the first evaluation fail before the first step; memory that
        evaluations need is then held from the beginning, too."""
        self.heldout.rehearse(self.engine)
        self.reporter.draw()

    def evaluates_at(self, step: int) -> bool:
        """Every `evaluation.every_steps`."""
        return step % self.config.evaluation.every_steps == 0

    def evaluate(self, step: int) -> bool:
        """Score the held-out text."""
        self.reporter.heldout(step, self.heldout.scores(self.engine))
        return False

    def finish(self, step: int) -> None:
        """Score words, and say how long the run stayed on the plateau."""
        scores = self.heldout.word_scores(self.engine)
        if scores:
            self.reporter.words(step, scores)
        self.reporter.plateau(step)
