"""What a trial leaves in its folder, and what its folder tells a later start."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from configs.errors import InputError
from configs.system.aside import clear_leftovers, remove
from configs.system.files import write_text, written_file
from configs.system.json_files import REMAKE, read_json
from configs.system.notes import warn_once
from configs.system.run_folder import RunFolder
from configs.system.run_names import CARD
from finetune.model.model_folder import ModelCard, save_finetuned
from finetune.tasks.task import AnyTask
from finetune.training.task_objective import Framed, Result
from finetune.training.trials import Trial
from pretrain.run import checkpoint
from pretrain.run.checkpoint_folder import list_checkpoints
from tokenizer.base import Tokenizer


def keep_best(
    card: ModelCard, trial: Trial, result: Result, tokenizer: Tokenizer, metric: str
) -> None:
    """Let the model take the place of `checkpoints/best` if its dev score is higher."""
    folder = RunFolder(Path(trial.config.run_dir)).best
    clear_leftovers(folder.parent)
    scores = {"trial": trial.name, **result.by_part}
    if (folder / CARD).is_file():
        with suppress(InputError, KeyError, TypeError):  # a torn one is worse than any
            before = read_json(folder / CARD, infinite=True)["scores"]
            if before["dev"][metric] >= result.scores["dev"][metric]:
                return
    card = replace(card, settings=result.settings, scores=scores)
    save_finetuned(folder, card, tokenizer, result.weights)


def write_predictions(path: Path, task: AnyTask, framed: Framed, result: Result) -> None:
    """A line for every example but those of train; one without a label has none."""
    rows = [
        {"split": name, **row}
        for name, examples in framed.examples.evaluated.items()
        for row in task.rows(examples, result.answers[name])
    ]
    with written_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_result(trial: Trial, result: Result, fingerprint: str) -> None:
    """result.json, last: it marks the trial as done."""
    content = {
        "name": trial.name,
        "point": trial.point,
        "seed": trial.seed,
        **result.by_part,
        "settings": result.settings,
        "best_step": result.step,
        "epoch": result.epoch,
        "seconds": result.seconds,
        "fingerprint": fingerprint,
    }
    write_text(RunFolder(trial.folder).result, json.dumps(content, indent=1) + "\n")


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


def drop_checkpoints(trial: Trial) -> None:
    """Remove what a trial needed to be resumed, once it is done."""
    if stayed := remove(RunFolder(trial.folder).checkpoints):
        warn_once(f"{stayed}: it stays")


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
        return checkpoint.read_state(saved[-1], {}).fingerprints.get("trial") if saved else None
    return None
