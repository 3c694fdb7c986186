"""From a configuration to a run folder: all trials, the best model, and the report."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.errors import InputError, RunError
from configs.finetune_schema import PLACES, FinetuneConfig
from configs.schema import ModelConfig
from configs.system.run_folder import RunFolder
from configs.system.safe_text import visible
from configs.system.version import FINETUNING
from finetune.data.example import Splits, digest_examples
from finetune.data.submission import write_submissions
from finetune.model import model_folder
from finetune.model.model_folder import ModelCard
from finetune.model.task_model import TaskModel, balanced_weights
from finetune.report.results import write_report
from finetune.tasks.task import AnyTask
from finetune.training import trial_run
from finetune.training.adapt import adapt
from finetune.training.task_objective import Framed, Result
from finetune.training.trial_run import Common
from finetune.training.trials import Trial, make_trials
from pretrain.engine.compiling import Compiling, choose_compiling
from pretrain.engine.precision import Precision, choose_precision
from pretrain.model.pretraining import initialise
from pretrain.ranks.agreement import Agreement, by_all, failing_together
from pretrain.ranks.checksums import find_drift
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.watchdog import Watchdog
from pretrain.ranks.world import World
from pretrain.run import describe
from pretrain.run.describe import LEARNING, start_facts
from pretrain.run.log import duration
from pretrain.run.pretrained import Pretrained
from pretrain.run.status import kept_status, owned

logger = logging.getLogger(__name__)


def finetune(config: FinetuneConfig, world: World) -> Path:
    """Run every trial that is not done yet, keep the best model, write the report.

    Raises:
        InputError: for everything that the user can cure, before any step is taken.
        RunError: memory ran out, or the loss is not finite for good.
        Preempted: the machine was wanted back; trials that are done stay.
        Leave: the same before the first step.
    """
    agreement = Agreement(world)
    agreement.require(start_facts(config, PLACES, FINETUNING, LEARNING))
    with owned(Path(config.run_dir), world):
        return finetune_owned(config, agreement)


def finetune_owned(config: FinetuneConfig, agreement: Agreement) -> Path:
    """As `finetune`, in a run folder that this run owns."""
    run_dir, world = Path(config.run_dir), agreement.world
    notice = PreemptionNotice(config.safety.stop_after_minutes)
    with failing_together(world):
        trials = make_trials(config)
        task, examples, pretrained = prepare(config)
        hashes = {"encoder": digest(pretrained.weights), "examples": digest_examples(examples)}
        contents = "".join(hashes.values())
        trial_run.check_run_dir(trials, contents)
        framed = frame(task, examples, pretrained)
    tokenizer = pretrained.tokenizer.fingerprint[:16]
    encoder = {"encoder": hashes["encoder"][:16], "tokenizer": tokenizer}
    agreement.require({"examples": {"examples": hashes["examples"][:16]}, "encoder": encoder})
    precision = find_precision(config, world)
    with kept_status(run_dir, world):
        if config.adapt.epochs:
            pretrained = adapt(config, examples.train, pretrained, world, precision)
        compiling = find_compiling(config, pretrained.model, precision, world)
        common = Common(task, framed, pretrained, contents, agreement, precision, compiling, notice)
        if world.is_main:
            agreed = {"agreed": agreement.record}
            decided = hashes | precision.facts | compiling.facts | agreed
            describe.write_environment(run_dir, config, world, decided)
            logger.info(opening(config, trials, common))
        with notice.listening(world):
            run_trials(trials, common)
        if world.is_main:
            names = [trial.name for trial in trials]
            logger.info(write_report(run_dir, config, task, framed.examples, names))
            for path in write_submissions(run_dir, config.task, examples):
                logger.info(f"answers for GLUE's server: {visible(path)}")
            trial_run.drop_strays(run_dir, trials)
            folder = RunFolder(run_dir)
            logger.info(f"done: report {visible(folder.report)}, model {visible(folder.best)}")
    return run_dir


def run_trials(trials: Sequence[Trial], common: Common) -> None:
    """Every trial that is not done yet, each with a watchdog; says how long the rest will take."""
    world, started = common.agreement.world, time.monotonic()
    for number, trial in enumerate(trials, start=1):
        if not world.from_main(trial_run.is_done(trial)):
            safety, run_dir = trial.config.safety, Path(trial.config.run_dir)
            with Watchdog(safety.hang_minutes, run_dir, world.rank) as watchdog:
                run_trial(trial, common, watchdog)
            if world.is_main and number < len(trials):
                seconds = (time.monotonic() - started) / number * (len(trials) - number)
                done = f"trial {number} of {len(trials)} is done"
                logger.info(f"{done}; about {duration(seconds)} left")
        if world.is_main:
            # Also what a kill has left beside a result.
            trial_run.drop_checkpoints(RunFolder(trial.folder))


def run_trial(trial: Trial, common: Common, watchdog: Watchdog) -> None:
    """Train one model and write what it found."""
    world = common.agreement.world
    config, shape = trial.config, common.pretrained.model
    rate = config.head.encoder_dropout
    if rate is not None:
        shape = replace(shape, dropout=rate, attention_dropout=rate)
    labels = tuple(common.framed.examples.labels)
    # The task's settings and scores are still unknown.
    card = ModelCard(config.task, shape, config.head, labels, config.max_length, {}, {})
    model = build_model(trial, card, common).to(world.device)
    result = trial_run.train_trial(trial, model, common, watchdog.beat)
    require_same_weights(trial, result, world)
    if world.is_main:
        trial_run.write_trial(trial, card, result, common)
    world.barrier()


def find_precision(config: FinetuneConfig, world: World) -> Precision:
    """One for all trials, also of a run that is resumed: scores of two would not compare."""
    asked, before = config.engine.precision, None
    if asked == "auto":
        before = world.from_main(RunFolder(Path(config.run_dir)).recorded_precision())
    return choose_precision(asked, world, config.adapt.cache, before)


def find_compiling(
    config: FinetuneConfig, shape: ModelConfig, precision: Precision, world: World
) -> Compiling:
    """One for all trials, also of a run that is resumed."""
    before = world.from_main(RunFolder(Path(config.run_dir)).recorded_compile())
    return choose_compiling(config.engine.compile, shape, precision.name, world, before)


def opening(config: FinetuneConfig, trials: Sequence[Trial], common: Common) -> str:
    """The lines a run begins with."""
    framed, pretrained = common.framed, common.pretrained
    sizes = ", ".join(
        f"{len(part):,} {name} ({sum(f.tokens for f in framed.features[name]):,} tokens)"
        for name, part in framed.examples.parts.items()
    )
    shape, rate = pretrained.model, config.optimizer.learning_rate
    first = framed.features["train"][0]
    example = " ".join(pretrained.tokenizer.decode(first.ids[0].tolist()).split())
    names, labels = (", ".join(x)[:200] for x in ([t.name for t in trials], framed.examples.labels))
    rows = {
        "run": f"{config.run_dir}, {len(trials)} trials: {names}",
        "task": f"{config.task.name}, {config.task.kind}: {labels}",
        "examples": sizes,
        "encoder": f"{config.model}: {shape.architecture} {shape.layers} x {shape.hidden_size}",
        "precision": str(common.precision),
        "batch": f"{config.batch.sequences} examples, peak learning rate {rate:g}",
        "example": example[:320],
    }
    lines = [*rows.items(), *(("note", note) for note in framed.examples.notes)]
    return "\n".join([*(f"{name:<10}{visible(text)}" for name, text in lines), ""])


def prepare(config: FinetuneConfig) -> tuple[AnyTask, Splits[Any], Pretrained]:
    """(task, its examples, the encoder), each checked."""
    if not config.model:
        raise InputError("model is missing: name a run folder, a Hugging Face folder or a hub name")
    if config.adapt.epochs and model_folder.find_finetuned(Path(config.model)):
        raise InputError(
            f"model={config.model} is a fine-tuned model, which has no MLM head to adapt by: set "
            "adapt.epochs=0, or adapt the encoder before it learns a task"
        )
    task = model_folder.make_task(config.task, config.max_length)
    pretrained = model_folder.load_encoder(config.model)
    if config.max_length > pretrained.model.max_positions:
        raise InputError(
            f"max_length={config.max_length} is beyond the {pretrained.model.max_positions} "
            f"positions of {config.model}: lower it"
        )
    return task, task.read(), pretrained


def frame(task: AnyTask, examples: Splits[Any], pretrained: Pretrained) -> Framed:
    """The features of every split, and notes on what the model does not see."""
    features = {n: task.features(part, pretrained.tokenizer) for n, part in examples.parts.items()}
    notes = [
        note
        for name, part in examples.parts.items()
        for note in task.reading_notes(name, part, features[name])
    ]
    return Framed(replace(examples, notes=(*examples.notes, *notes)), features)


def require_same_weights(trial: Trial, result: Result, world: World) -> None:
    """Raise `RunError` on all ranks where they found different models: none can be kept."""
    drift = find_drift(world, result.weights)
    if drift:
        raise by_all(
            RunError(
                f"{trial.name}: ranks no longer hold the same weights: {drift}: memory or "
                "arithmetic of a node failed; the trial was not kept, the same command trains it "
                "again"
            )
        )


def build_model(trial: Trial, card: ModelCard, common: Common) -> TaskModel:
    """The encoder's weights (unless it is to forget them) under a new head."""
    pretrained, balanced = common.pretrained, None
    if card.head.class_weights == "balanced":
        targets = [int(feature.targets[0]) for feature in common.framed.features["train"]]
        balanced = balanced_weights(targets, len(card.labels))
    pad, rows = pretrained.tokenizer.special.pad, pretrained.vocabulary_size
    recompute = trial.config.engine.activation_checkpointing
    model = model_folder.make_task_model(card, pad, rows, balanced, recompute)
    initialise(model, card.model, trial.seed)
    if not trial.config.reinitialise:
        missing, _ = model.load_state_dict(inherited(pretrained.weights), strict=False)
        assert all(name.startswith("head.") for name in missing), missing
    return model


def inherited(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a task model takes over: the encoder, and BERT's pooler where NSP trained one."""
    kept = {name: w for name, w in weights.items() if name.startswith("encoder.")}
    for kind in ("weight", "bias"):
        pooler = weights.get(f"nsp_head.pooler.{kind}")
        if pooler is not None:
            kept[f"head.dense.{kind}"] = pooler
    return kept


def digest(weights: dict[str, Tensor]) -> str:
    """sha256 of all weights under their names."""
    hasher = hashlib.sha256()
    for name in sorted(weights):
        hasher.update(name.encode())
        hasher.update(weights[name].contiguous().numpy().tobytes())
    return hasher.hexdigest()
