"""One trial, from its first step or from where a start before this one has left it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from configs.schema import PrecisionName
from configs.system.run_folder import RunFolder
from finetune.model.task_batches import TaskBatches
from finetune.model.task_model import TaskModel
from finetune.tasks.task import AnyTask
from finetune.training.task_objective import Framed, Result, TaskObjective, TrialReporter
from finetune.training.trials import Trial
from pretrain.engine.engine import Engine
from pretrain.engine.loop import Loop
from pretrain.optim.schedule import Phase, Schedule
from pretrain.ranks.agreement import Agreement, failing_together
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.run import checkpoint
from pretrain.run.describe import checkpoint_facts
from pretrain.run.log import RunLog
from pretrain.run.opening import traffic_line
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Surroundings:
    """What all trials of a process have in common."""

    agreement: Agreement
    precision: PrecisionName
    """what `engine.precision` was resolved to"""
    notice: PreemptionNotice
    """tells when to leave early"""
    beat: Callable[[str], None]
    """is told what comes next"""


def train_trial(
    trial: Trial,
    task: AnyTask,
    framed: Framed,
    model: TaskModel,
    tokenizer: Tokenizer,
    fingerprint: str,
    around: Surroundings,
) -> Result:
    """Train, scoring dev on the way; what scored best there is kept for the other parts.

    Args:
        fingerprint: of all that decides the result; a checkpoint of another is refused.
    Raises:
        Preempted: the notice was given on some rank; the trial is saved.
    """
    config, world = trial.config, around.agreement.world
    folder = trial.folder
    saved = find_saved(RunFolder(folder).checkpoints, around.agreement)
    fingerprints = {"trial": fingerprint}
    state = checkpoint.read_state(saved, fingerprints) if saved else checkpoint.State(0)
    data = TaskBatches(framed.train, config.batch, trial.seed)
    phase = Phase(0, data.steps_per_epoch, data.tokens_per_epoch)
    schedule = Schedule.make(config.schedule, [phase])
    engine = Engine(model, config, world, around.precision, config.layer_decay)
    events = RunFolder(Path(config.run_dir)).tensorboard / trial.name
    log = RunLog(folder, world.is_main, state.step, events)
    try:
        reporter = TrialReporter(log, folder, schedule, tokenizer, trial.name)
        objective = TaskObjective(trial, task, framed, engine, data, reporter)
        if saved:
            checkpoint.restore(saved, engine, state)
            if state.extra:
                objective.resume(state.extra, checkpoint.read_extra(saved, world))
            reporter.say(f"resumed at step {state.step}")
        if world.size > 1:
            reporter.say(f"traffic: {traffic_line(config, model, world)}")
        begin = replace(
            state,
            fingerprints=fingerprints,
            precision=around.precision,
            world_size=world.size,
        )
        writer = checkpoint.Writer(RunFolder(folder).checkpoints, config.checkpoint)
        loop = Loop(objective, config, begin, writer, around.notice, around.beat)
        loop.run()
        result = objective.result(around.beat)
        return replace(result, seconds=60 * loop.elapsed_minutes)
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
