"""One trial: from its first step, or where an earlier start has left it, to what it leaves in its
folder and what that tells a later start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from configs.errors import InputError
from configs.system.aside import clear_leftovers, remove
from configs.system.files import write_text
from configs.system.json_files import REMAKE, read_json
from configs.system.notes import warn_once
from configs.system.run_folder import RunFolder
from configs.system.run_names import CARD
from configs.system.safe_text import visible
from finetune.data.submission import write_predictions
from finetune.model.model_folder import ModelCard, save_finetuned
from finetune.model.task_model import TaskBatches, TaskModel
from finetune.report.method_table import by_part
from finetune.tasks.task import AnyTask
from finetune.training.task_objective import Framed, Result, TaskObjective, TrialReporter
from finetune.training.trials import Trial
from pretrain.engine.compiling import Compiling
from pretrain.engine.engine import Engine
from pretrain.engine.loop import Loop
from pretrain.engine.precision import Precision
from pretrain.optim.schedule import Phase, Schedule
from pretrain.ranks.agreement import Agreement, failing_together
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.run import checkpoint, checkpoint_state
from pretrain.run.checkpoint_folder import list_checkpoints
from pretrain.run.describe import checkpoint_facts
from pretrain.run.log import RunLog
from pretrain.run.opening import traffic_line
from pretrain.run.pretrained import Pretrained


@dataclass(frozen=True)
class Common:
    """What all trials of a run share."""

    task: AnyTask
    framed: Framed
    pretrained: Pretrained
    contents: str
    """as in `Trial.fingerprint`"""
    agreement: Agreement
    precision: Precision
    compiling: Compiling
    notice: PreemptionNotice
    """tells when to leave early"""


def train_trial(
    trial: Trial, model: TaskModel, common: Common, beat: Callable[[str], None]
) -> Result:
    """Train, scoring dev on the way; what scored best there is kept for the other parts.

    Args:
        beat: is told what comes next.
    Raises:
        InputError: the trial's checkpoint is of another recipe.
        Preempted: the notice was given on some rank; the trial is saved.
    """
    config, folder, world = trial.config, RunFolder(trial.folder), common.agreement.world
    saved = find_saved(folder.checkpoints, common.agreement)
    fingerprints = {"trial": trial.fingerprint(common.contents)}
    state = checkpoint_state.read_state(saved, fingerprints) if saved else checkpoint_state.State(0)
    data = TaskBatches(common.framed.features["train"], config.batch, trial.seed)
    phase = Phase(0, data.steps_per_epoch, data.tokens_per_epoch)
    schedule = Schedule.make(config.schedule, [phase])
    precision, compiles = common.precision.name, common.compiling.is_on
    engine = Engine(model, config, world, precision, config.layer_decay, compiles)
    events = RunFolder(Path(config.run_dir)).tensorboard / trial.name
    log = RunLog(folder.path, world.is_main, state.step, events)
    try:
        tokenizer = common.pretrained.tokenizer
        reporter = TrialReporter(log, folder.path, schedule, tokenizer, trial.name)
        objective = TaskObjective(trial, common.task, common.framed, engine, data, reporter)
        if saved:
            checkpoint.restore(saved, engine, state)
            if state.extra:
                objective.resume(state.extra, checkpoint.read_extra(saved, world))
            reporter.say(f"resumed at step {state.step}")
        if world.size > 1:
            reporter.say(f"traffic: {traffic_line(config, model, world)}")
        begin = replace(
            state, fingerprints=fingerprints, precision=precision, world_size=world.size
        )
        writer = checkpoint.Writer(folder.checkpoints, config.checkpoint)
        loop = Loop(objective, config, begin, writer, common.notice, beat)
        loop.run()
        return replace(objective.result(beat), seconds=60 * loop.elapsed_minutes)
    finally:
        log.close()


def find_saved(folder: Path, agreement: Agreement) -> Path | None:
    """The last whole checkpoint, the same for all ranks; None: the trial begins.

    Raises:
        InputError: on all ranks, for one that only some of them can read.
    """
    world = agreement.world
    with failing_together(world):
        saved = checkpoint.find_last(folder) if world.is_main else None
    saved = world.from_main(saved)
    with failing_together(world):
        facts = {"checkpoint": checkpoint_facts(saved)}
    agreement.require(facts)
    return saved


def write_trial(trial: Trial, card: ModelCard, result: Result, common: Common) -> None:
    """What a trial leaves: its model if that is the best so far, predictions.csv, result.json.

    The last marks it as done. An example without a label has none in predictions.csv either.
    """
    # In this order, and the result last: a kill before it leaves a trial that is not done, whose
    # checkpoint brings the next start here again, and what was written is written once more.
    keep_best(trial, card, result, common)
    rows = [
        {"split": name, **row}
        for name, examples in common.framed.examples.evaluated.items()
        for row in common.task.rows(examples, result.answers[name])
    ]
    write_predictions(RunFolder(trial.folder).predictions, rows, csv_safe=False)
    content = {
        "name": trial.name,
        "point": trial.point,
        "seed": trial.seed,
        **by_part(result.scores),
        "settings": result.settings,
        "best_step": result.step,
        "epoch": result.epoch,
        "seconds": result.seconds,
        "fingerprint": trial.fingerprint(common.contents),
    }
    write_text(RunFolder(trial.folder).result, json.dumps(content, indent=1) + "\n")


def keep_best(trial: Trial, card: ModelCard, result: Result, common: Common) -> None:
    """Let the model take the place of `checkpoints/best` if its dev score is higher."""
    folder, metric = RunFolder(Path(trial.config.run_dir)).best, common.task.metric
    clear_leftovers(folder.parent)
    if (folder / CARD).is_file():
        with suppress(InputError, KeyError, TypeError):  # a torn one is worse than any
            before = read_json(folder / CARD, infinite=True)["scores"]
            if before["dev"][metric] >= result.scores["dev"][metric]:
                return
    scores = {"trial": trial.name, **by_part(result.scores)}
    card = replace(card, settings=result.settings, scores=scores)
    save_finetuned(folder, card, common.pretrained.tokenizer, result.weights)


def is_done(trial: Trial) -> bool:
    """Whether a trial has its result."""
    return _result_fingerprint(trial) is not None


def check_run_dir(trials: Sequence[Trial], contents: str) -> None:
    """Raise `InputError` where a trial's folder holds a result or a checkpoint of another recipe.

    Args:
        contents: as in `Trial.fingerprint`.
    """
    for trial in trials:
        folder, own = RunFolder(trial.folder), trial.fingerprint(contents)
        cure = "choose another run_dir, or remove this one"
        made, path = _result_fingerprint(trial), folder.result
        if made is None:
            made, path = _saved_fingerprint(trial), folder.checkpoints
            cure = "remove this folder to begin the trial anew, or choose another run_dir"
        if made is not None and made != own:
            raise InputError(f"{path} is from another configuration, encoder or data: {cure}")


def drop_checkpoints(folder: RunFolder) -> None:
    """Remove what a trial needed to be resumed."""
    if stayed := remove(folder.checkpoints):
        warn_once(f"{stayed}: it stays")


def drop_strays(run_dir: Path, trials: Iterable[Trial]) -> None:
    """Remove the checkpoints of trials that were begun and are no longer asked for, and say so."""
    names = {trial.name for trial in trials}
    for folder in RunFolder(run_dir).trials():
        if folder.path.name not in names and folder.checkpoints.is_dir():
            warn_once(f"{visible(folder.path)} is no trial of this run: its checkpoints go")
            drop_checkpoints(folder)


def _result_fingerprint(trial: Trial) -> str | None:
    """What a trial's result says it was made from; None without a result, or with a torn one."""
    path = RunFolder(trial.folder).result
    if not path.is_file():
        return None
    try:
        return str(read_json(path, infinite=True).get("fingerprint"))
    except InputError as error:
        warn_once(f"{str(error).removesuffix(REMAKE)}its trial is run anew")
        return None


def _saved_fingerprint(trial: Trial) -> str | None:
    """The same of its last checkpoint; whether that is whole is found out when it is read."""
    saved = list_checkpoints(RunFolder(trial.folder).checkpoints)
    with suppress(InputError):
        return (
            checkpoint_state.read_state(saved[-1], {}).fingerprints.get("trial") if saved else None
        )
    return None
