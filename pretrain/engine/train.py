"""From a configuration to a run folder."""

from __future__ import annotations

import logging
from pathlib import Path

from configs.errors import InputError
from configs.schema import PLACES, PretrainConfig
from configs.system.files import make_folder
from configs.system.run_folder import RunFolder
from configs.system.run_lock import exclusive
from configs.system.safe_text import visible
from configs.system.version import PRETRAINING
from pretrain.data.corpus import Corpus, prepare
from pretrain.data.verification import Verification
from pretrain.data.word2vec import word_vectors
from pretrain.engine.certify import Certifier
from pretrain.engine.fitting import resolve
from pretrain.engine.trainer import Trainer
from pretrain.ranks.agreement import Agreement, failing_together
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.watchdog import Watchdog
from pretrain.ranks.world import World, leads_node
from pretrain.run import checkpoint, describe
from pretrain.run.checkpoint_folder import list_checkpoints
from pretrain.run.describe import checkpoint_facts, corpus_facts, start_facts
from pretrain.run.export_run import export_run
from pretrain.run.status import kept_status, loss_explained, memory_explained, owned

logger = logging.getLogger(__name__)


def pretrain(config: PretrainConfig, world: World) -> Path:
    """Train, evaluate, save and export; returns the run folder.

    Raises:
        InputError: for everything that the user can cure, before any step is taken.
        RunError: memory ran out, or the loss is not finite for good.
        Preempted: the machine was wanted back; the run is saved.
        Leave: the same before the first step.
    """
    run_dir = Path(config.run_dir)
    folder = RunFolder(run_dir)
    agreement = Agreement(world)
    agreement.require(start_facts(config, PLACES, PRETRAINING))
    notice = PreemptionNotice(config.safety.stop_after_minutes)
    with owned(run_dir, world):
        with notice.preparing():
            corpus, verification, saved = find_ground(config, agreement)
        with Watchdog(config.safety.hang_minutes, run_dir, world.rank) as watchdog:
            with memory_explained(run_dir, world), loss_explained(run_dir):
                resolved = resolve(config, world, corpus.tokenizer, saved)
                certifier = Certifier(world, corpus, verification)
                trainer = Trainer(resolved, world, corpus, saved, notice, watchdog, certifier)
            try:
                with notice.listening(world), kept_status(run_dir, world):
                    if world.is_main:
                        write_run_folder(trainer, agreement)
                    verification.continue_in_background()
                    trainer.run()
                    if world.is_main:
                        with exclusive(folder.export, patience=600):
                            export_run(run_dir, folder.export)
            finally:
                verification.close()
                trainer.log.close()
    logger.info(f"done: curves {visible(folder.curves)}, model {visible(folder.export)}")
    return run_dir


def write_run_folder(trainer: Trainer, agreement: Agreement) -> None:
    """config.yaml, environment.json and the tokenizer."""
    run_dir, corpus = trainer.run_dir, trainer.corpus
    make_folder(run_dir)
    corpus.tokenizer.save(RunFolder(run_dir).tokenizer)
    decided = {
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
        **trainer.precision.facts,
        **trainer.compiling.facts,
        "store": str(corpus.folder),
        "verified": trainer.certifier.verification.facts(),
        "parameters": sum(p.numel() for p in trainer.engine.model.parameters()),
        "agreed": agreement.record,
    }
    step = trainer.state.step
    describe.write_environment(run_dir, trainer.config, trainer.world, decided, PRETRAINING, step)


def find_ground(
    config: PretrainConfig, agreement: Agreement
) -> tuple[Corpus, Verification, Path | None]:
    """(text, how far it is verified, checkpoint to resume from), the same for all ranks.

    Raises:
        InputError: on all ranks, for what one of them cannot read, or reads otherwise.
    """
    world, run_dir = agreement.world, Path(config.run_dir)
    with failing_together(world):
        corpus = prepare(config)
        verification = Verification(corpus.folder, config.data, leads=leads_node())
        verification.begin()
    # Ranks must not judge files by themselves: one that saw another checkpoint would diverge.
    with failing_together(world):
        found = find_checkpoint(config, run_dir) if world.is_main else None
    found = world.from_main(found)
    with failing_together(world):
        if config.embeddings.initial == "word2vec" and not found:
            word_vectors(config, corpus)  # as long as it takes, once: then kept in the cache
        facts = {"corpus": corpus_facts(corpus), "checkpoint": checkpoint_facts(found)}
    agreement.require(facts)
    return corpus, verification, found


def find_checkpoint(config: PretrainConfig, run_dir: Path) -> Path | None:
    """Where to resume, by `checkpoint.resume`; None starts anew."""
    folder, resume = RunFolder(run_dir).checkpoints, config.checkpoint.resume
    if resume == "auto" or RunFolder(run_dir).read_status() == "preempted":
        return checkpoint.find_last(folder)
    if resume == "never":
        if list_checkpoints(folder):
            raise InputError(
                f"{folder} holds checkpoints but checkpoint.resume=never: choose another run_dir "
                "or checkpoint.resume=auto"
            )
        return None
    damage = checkpoint.find_damage(Path(resume))
    if damage:
        raise InputError(f"checkpoint.resume={resume}: no whole checkpoint ({damage})")
    return Path(resume)
