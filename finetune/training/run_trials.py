"""From a configuration to a run folder: all trials, the best model, and the report."""

from __future__ import annotations

import hashlib
import logging
import time
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
from finetune.model.model_folder import (
    ModelCard,
    find_finetuned,
    load_encoder,
    make_task_model,
)
from finetune.model.task_losses import balanced_weights
from finetune.model.task_model import TaskModel
from finetune.report.results import write_report
from finetune.tasks.kinds import make_task
from finetune.tasks.task import AnyTask
from finetune.training.adapt import adapt
from finetune.training.task_objective import Framed, Result
from finetune.training.trial_folder import (
    check_run_dir,
    drop_checkpoints,
    is_done,
    keep_best,
    write_predictions,
    write_result,
)
from finetune.training.trial_trainer import Surroundings, train_trial
from finetune.training.trials import Trial, make_trials
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
        return run_trials(config, agreement)


def run_trials(config: FinetuneConfig, agreement: Agreement) -> Path:
    """As `finetune`, in a run folder that this run owns."""
    run_dir, world = Path(config.run_dir), agreement.world
    with failing_together(world):
        trials = make_trials(config)
        task, examples, pretrained = prepare(config)
        hashes = {"encoder": digest(pretrained.weights), "examples": digest_examples(examples)}
        contents = "".join(hashes.values())
        check_run_dir(trials, contents)
        framed = frame(task, examples, pretrained)
    tokenizer = pretrained.tokenizer.fingerprint[:16]
    encoder = {"encoder": hashes["encoder"][:16], "tokenizer": tokenizer}
    examples_seen = {"examples": hashes["examples"][:16]}
    agreement.require({"examples": examples_seen, "encoder": encoder})
    precision = find_precision(config, world)
    notice = PreemptionNotice(config.safety.stop_after_minutes)
    with kept_status(run_dir, world):
        if config.adapt.epochs:
            pretrained = adapt(config, examples.train, pretrained, world, precision)
        if world.is_main:
            decided = hashes | precision.facts | {"agreed": agreement.record}
            describe.write_environment(run_dir, config, world, decided)
            logger.info(opening(config, trials, framed, pretrained, precision))
        started = time.monotonic()
        with notice.listening(world):
            for number, trial in enumerate(trials):
                if not world.from_main(is_done(trial)):
                    with Watchdog(config.safety.hang_minutes, run_dir, world.rank) as watchdog:
                        around = Surroundings(agreement, precision.name, notice, watchdog.beat)
                        fingerprint = trial.fingerprint(contents)
                        run_trial(trial, task, framed, pretrained, fingerprint, around)
                    say_left(world, number + 1, len(trials), time.monotonic() - started)
                if world.is_main:
                    drop_checkpoints(trial)  # also what a kill has left beside a result
        if world.is_main:
            logger.info(
                write_report(run_dir, config, task, framed.examples, [t.name for t in trials])
            )
            for path in write_submissions(run_dir, config.task, examples):
                logger.info(f"answers for GLUE's server: {visible(path)}")
            folder = RunFolder(run_dir)
            logger.info(f"done: report {visible(folder.report)}, model {visible(folder.best)}")
    return run_dir


def find_precision(config: FinetuneConfig, world: World) -> Precision:
    """One for all trials, also of a run that is resumed: scores of two would not compare."""
    asked, before = config.engine.precision, None
    if asked == "auto":
        before = world.from_main(RunFolder(Path(config.run_dir)).recorded_precision())
    return choose_precision(asked, world, config.adapt.cache, before)


def opening(
    config: FinetuneConfig,
    trials: list[Trial],
    framed: Framed,
    pretrained: Pretrained,
    precision: Precision,
) -> str:
    """The lines a run begins with."""
    examples = {"train": framed.examples.train, **framed.examples.evaluated}
    parts = {"train": framed.train, **framed.evaluated}
    sizes = ", ".join(
        f"{len(examples[name]):,} {name} ({sum(f.tokens for f in part):,} tokens)"
        for name, part in parts.items()
    )
    shape, rate = pretrained.model, config.optimizer.learning_rate
    first = framed.train[0]
    example = " ".join(pretrained.tokenizer.decode(first.ids[0].tolist()).split())
    names, labels = (", ".join(x)[:200] for x in ([t.name for t in trials], framed.examples.labels))
    rows = {
        "run": f"{config.run_dir}, {len(trials)} trials: {names}",
        "task": f"{config.task.name}, {config.task.kind}: {labels}",
        "examples": sizes,
        "encoder": f"{config.model}: {shape.architecture} {shape.layers} x {shape.hidden_size}",
        "precision": str(precision),
        "batch": f"{config.batch.sequences} examples, peak learning rate {rate:g}",
        "example": example[:320],
    }
    lines = [*rows.items(), *(("note", note) for note in framed.examples.notes)]
    return "\n".join([*(f"{name:<10}{visible(text)}" for name, text in lines), ""])


def say_left(world: World, done: int, trials: int, seconds: float) -> None:
    """How long the trials that are left will take."""
    if world.is_main and done < trials:
        left = duration(seconds / done * (trials - done))
        logger.info(f"trial {done} of {trials} is done; about {left} left")


def prepare(config: FinetuneConfig) -> tuple[AnyTask, Splits[Any], Pretrained]:
    """(task, its examples, the encoder), each checked."""
    if not config.model:
        raise InputError("model is missing: name a run folder, a Hugging Face folder or a hub name")
    if config.adapt.epochs and find_finetuned(Path(config.model)):
        raise InputError(
            f"model={config.model} is a fine-tuned model, which has no MLM head to adapt by: set "
            "adapt.epochs=0, or adapt the encoder before it learns a task"
        )
    task = make_task(config.task, config.max_length)
    pretrained = load_encoder(config.model)
    if config.max_length > pretrained.model.max_positions:
        raise InputError(
            f"max_length={config.max_length} is beyond the {pretrained.model.max_positions} "
            f"positions of {config.model}: lower it"
        )
    return task, task.read(), pretrained


def frame(task: AnyTask, examples: Splits[Any], pretrained: Pretrained) -> Framed:
    """The features of every split, and notes on what the model does not see."""
    parts = {"train": examples.train, **examples.evaluated}
    framed = {name: task.features(part, pretrained.tokenizer) for name, part in parts.items()}
    notes = [
        note
        for name, part in parts.items()
        for note in task.reading_notes(name, part, framed[name])
    ]
    noted = replace(examples, notes=(*examples.notes, *notes))
    return Framed(noted, framed.pop("train"), framed)


def run_trial(
    trial: Trial,
    task: AnyTask,
    framed: Framed,
    pretrained: Pretrained,
    fingerprint: str,
    around: Surroundings,
) -> None:
    """Train one model and write what it found."""
    world, tokenizer = around.agreement.world, pretrained.tokenizer
    card = make_card(trial, framed, pretrained.model)
    model = build_model(trial, card, framed, pretrained).to(world.device)
    result = train_trial(trial, task, framed, model, tokenizer, fingerprint, around)
    require_same_weights(trial, result, world)
    if world.is_main:
        keep_best(card, trial, result, tokenizer, task.metric)
        write_predictions(RunFolder(trial.folder).predictions, task, framed, result)
        write_result(trial, result, fingerprint)
    world.barrier()


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


def make_card(trial: Trial, framed: Framed, shape: ModelConfig) -> ModelCard:
    """What the model will be, its settings and scores still unknown."""
    config = trial.config
    rate = config.head.encoder_dropout
    if rate is not None:
        shape = replace(shape, dropout=rate, attention_dropout=rate)
    labels = tuple(framed.examples.labels)
    return ModelCard(config.task, shape, config.head, labels, config.max_length, {}, {})


def build_model(trial: Trial, card: ModelCard, framed: Framed, pretrained: Pretrained) -> TaskModel:
    """The encoder's weights (unless it is to forget them) under a new head."""
    weights = pretrained.weights
    balanced = None
    if card.head.class_weights == "balanced":
        targets = [int(feature.targets[0]) for feature in framed.train]
        balanced = balanced_weights(targets, len(card.labels))
    vocabulary_size = len(weights["encoder.embeddings.word.weight"])
    recompute = trial.config.engine.activation_checkpointing
    model = make_task_model(card, pretrained.tokenizer, balanced, vocabulary_size, recompute)
    initialise(model, card.model, trial.seed)
    if not trial.config.reinitialise:
        missing, _ = model.load_state_dict(inherited(weights), strict=False)
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
