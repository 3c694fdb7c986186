"""A pretraining run, put together from its configuration, its text and perhaps a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from configs.schema import ResolvedPretrainConfig
from configs.system.run_folder import RunFolder
from pretrain.data.corpus import Corpus
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.data.verification import Verification
from pretrain.data.word2vec import word_vectors
from pretrain.engine.certify import Certifier
from pretrain.engine.compiling import Compiling, choose_compiling
from pretrain.engine.engine import Engine
from pretrain.engine.evaluate import Heldout
from pretrain.engine.loop import Loop
from pretrain.engine.machine import Peak, Remembered
from pretrain.engine.mlm_objective import MlmObjective
from pretrain.engine.precision import choose_precision
from pretrain.engine.reporter import PretrainingReporter
from pretrain.model.pretraining import PretrainingModel, initialise, make_model, set_embeddings
from pretrain.optim.schedule import Schedule
from pretrain.ranks.agreement import failing_together
from pretrain.ranks.checksums import require_same
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.watchdog import Watchdog
from pretrain.ranks.world import World
from pretrain.run import checkpoint, checkpoint_state, describe
from pretrain.run.log import RunLog
from pretrain.run.opening import Opening
from pretrain.run.pretrained import load_initial

logger = logging.getLogger(__name__)


class Trainer:
    """Everything random in it is a function of the step (law 1)."""

    def __init__(
        self,
        config: ResolvedPretrainConfig,
        world: World,
        corpus: Corpus,
        saved: Path | None,
        notice: PreemptionNotice,
        watchdog: Watchdog,
        certifier: Certifier | None = None,
    ) -> None:
        """Args:
        saved: checkpoint to resume from.
        notice: tells when to leave early.
        certifier: None: no data is verified.
        """
        self.config, self.world, self.corpus = config, world, corpus
        self.run_dir = Path(config.run_dir)
        self.batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
        self.batches.require_samples(world.size)
        heldout = Heldout(corpus, config, world)
        schedule = Schedule.make(config.schedule, self.batches.phases)
        state = self._read_state(saved)
        self.precision = choose_precision(
            config.engine.precision, world, config.data.cache, state.precision
        )
        self.compiling = self._choose_compiling(saved)
        self.engine = Engine(
            self._same_model(saved),
            config,
            world,
            self.precision.name,
            compiles=self.compiling.is_on,
        )
        self.state = replace(
            state,
            fingerprints=describe.fingerprints(config, corpus),
            store=str(corpus.folder),
            precision=self.engine.precision,
            world_size=world.size,
            micro_sequences=config.batch.micro_sequences,
        )
        if saved:
            self._require_same_rate(schedule, state)
            checkpoint.restore(saved, self.engine, state)
        self.log = RunLog(self.run_dir, world.is_main, state.step)
        remembered = Remembered(world.device, config.data.cache) if world.is_main else None
        peak = Peak(world.device, self.engine.precision, remembered)
        reporter = PretrainingReporter(self.log, self.run_dir, schedule, corpus.tokenizer, peak)
        unverified = Verification(corpus.folder, config.data, mode="never")
        self.certifier = certifier or Certifier(world, corpus, unverified)
        self.objective = MlmObjective(
            config, self.engine, self.batches, heldout, reporter, self.certifier
        )
        self.objective.begin(max(0, state.step - 1))  # an evaluation may come before any step
        writer = checkpoint.Writer(RunFolder(self.run_dir).checkpoints, config.checkpoint)
        self.loop = Loop(self.objective, config, self.state, writer, notice, watchdog.beat)

    def run(self) -> None:
        """All steps that are left, with logs, evaluations and checkpoints on the way.

        Raises:
            Preempted: `notice` was given on some rank; the run is saved.
            RunError: on all ranks: the data is damaged, or the gradient is not finite for good.
        """
        if self.world.is_main:
            logger.info(self._opening().text())
        if self.state.step == 0:
            self.objective.baseline()
            # New weights know nothing: theirs is the logarithm of the vocabulary's size.
            if self.config.initial_model or self.config.embeddings.initial != "random":
                self.loop.evaluate(0)
        elif not RunFolder(self.run_dir).last_record("baseline"):
            self.objective.baseline()  # the checkpoint is another run's
        self.objective.rehearse()
        self.loop.run()

    def _read_state(self, saved: Path | None) -> checkpoint_state.State:
        if saved is None:
            return checkpoint_state.State(0)
        fingerprints = describe.fingerprints(self.config, self.corpus)
        return checkpoint_state.read_state(
            saved, fingerprints, self.config.checkpoint.allow_changes
        )

    def _choose_compiling(self, saved: Path | None) -> Compiling:
        recorded = RunFolder(self.run_dir).recorded_compile()
        before = self.world.from_main(recorded) if saved else None
        shape, precision = self.config.model, self.precision.name
        return choose_compiling(self.config.engine.compile, shape, precision, self.world, before)

    def _require_same_rate(self, schedule: Schedule, state: checkpoint_state.State) -> None:
        """The check of a resumed schedule, unless it was said to be another."""
        moved = {"schedule.decay", "optimizer.learning_rate", "phases"}
        if state.learning_rate is not None and not moved & {*self.config.checkpoint.allow_changes}:
            peak = self.config.optimizer.learning_rate
            schedule.require_same_rate(peak, state.step, state.learning_rate)

    def _opening(self) -> Opening:
        return Opening(
            config=self.config,
            world=self.world,
            corpus=self.corpus,
            batches=self.batches,
            schedule=self.objective.schedule,
            model=self.engine.model,
            step=self.state.step,
            precision=self.engine.precision,
            precision_line=str(self.precision),
            compiles=self.compiling.is_on,
            peak_flops=self.objective.reporter.peak.flops,
        )

    def _model(self, saved: Path | None) -> PretrainingModel:
        """The model with its initial weights; those of a checkpoint come later."""
        config, corpus = self.config, self.corpus
        model = make_model(config, corpus.tokenizer)
        initialise(model, config.model, config.seed)
        if config.embeddings.initial == "word2vec" and not saved:
            set_embeddings(model, word_vectors(config, corpus), config.embeddings.scale)
        if config.initial_model and not saved:
            load_initial(model, config.initial_model, corpus.tokenizer)
        return model

    def _same_model(self, saved: Path | None) -> PretrainingModel:
        """The model on the device, after all ranks have made the same one.

        DeepSpeed would give them rank 0's weights: a rank that read others would not be noticed.
        """
        with failing_together(self.world):
            model = self._model(saved)
        name = self.config.initial_model
        what = f"initial_model={name}" if name else "a new model"
        require_same(self.world, dict(model.named_parameters()), what)
        return model.to(self.world.device)
