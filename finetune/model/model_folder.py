"""A fine-tuned model on disk: weights, tokenizer, and what is needed to use them again.

model.safetensors   fp32 weights of encoder and head
finetuned.json      task, labels, head, shape, settings, scores
tokenizer/
SHA256SUMS          of these; folders of earlier versions have none
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.errors import InputError
from configs.finetune_schema import HeadConfig
from configs.loader import from_container
from configs.schema import ModelConfig
from configs.system.files import written_aside
from configs.system.folder_hashes import check_hashes, write_hashes
from configs.system.json_files import read_json
from configs.system.run_folder import RunFolder
from configs.system.run_names import CARD, TOKENIZER, WEIGHTS
from configs.system.safe_text import json_text
from configs.system.secrets import as_stored
from configs.task_schema import TaskConfig
from finetune.model.task_model import TaskLoss, TaskModel, compute_logits
from finetune.tasks.span import SpanTask
from finetune.tasks.tagging import TaggingTask
from finetune.tasks.task import AnyTask, Feature
from finetune.tasks.text import ChoiceTask, ClassificationTask, RegressionTask
from pretrain.model.encoder import Encoder
from pretrain.ranks.world import World
from pretrain.run.pretrained import WORDS, Pretrained, load_pretrained
from pretrain.run.tensors import check_tensors, read_tensors, shapes_of, write_tensors
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer

KINDS: dict[str, type[AnyTask]] = {
    "classification": ClassificationTask,
    "regression": RegressionTask,
    "span": SpanTask,
    "choice": ChoiceTask,
    "tagging": TaggingTask,
}
"""by `task.kind`"""


@dataclass(frozen=True)
class ModelCard:
    """What a fine-tuned model is, beside its weights."""

    task: TaskConfig
    model: ModelConfig
    head: HeadConfig
    labels: tuple[str, ...]
    max_length: int
    settings: dict[str, Any]
    """the task's, chosen on dev"""
    scores: dict[str, Any]
    """of the trial it is from: name, dev, test"""


@dataclass(frozen=True)
class FinetunedModel:
    """A model that answers."""

    card: ModelCard
    tokenizer: Tokenizer
    model: TaskModel

    @property
    def task(self) -> AnyTask:
        """With the labels that the model has learnt."""
        return make_task(self.card.task, self.card.max_length, self.card.labels)

    def features(self, examples: Sequence[Any]) -> list[Feature]:
        """What the model sees of examples."""
        return self.task.features(examples, self.tokenizer)

    def answers(
        self, examples: Sequence[Any], features: Sequence[Feature], sequences: int = 32
    ) -> list[Any]:
        """The task's answers for examples without targets, `sequences` at a time."""
        task, model = self.task, self.model.eval()
        alone = World(0, 1, next(model.parameters()).device)
        logits = compute_logits(model, model.kind, features, sequences, alone)
        return task.answers(examples, features, logits, self.card.settings)


def save_finetuned(
    folder: Path, card: ModelCard, tokenizer: Tokenizer, weights: dict[str, Tensor]
) -> None:
    """Write `folder`, or replace it, at once."""
    with written_aside(folder) as aside:
        write_tensors(aside / WEIGHTS, weights)
        (aside / CARD).write_text(json_text(as_stored(asdict(card))), "utf-8")
        tokenizer.save(aside / TOKENIZER)
        write_hashes(aside)


def find_finetuned(path: Path) -> Path | None:
    """The folder of the model in `path`: a fine-tuning run, or the folder itself."""
    path = path.expanduser()
    folders = (path, RunFolder(path).best)
    return next((folder for folder in folders if (folder / CARD).is_file()), None)


def load_finetuned(path: Path, device: torch.device | str = "cpu") -> FinetunedModel:
    """The model in `path`, a fine-tuning run or the folder in it, on `device`.

    Raises:
        InputError: there is none, or it is damaged.
    """
    folder = find_finetuned(path)
    if folder is None:
        raise InputError(
            f"--model {path}: no fine-tuned model ({CARD} is missing): name the run folder of a "
            "finished launch/finetune.py"
        )
    check_hashes(folder)
    weights_file = folder / WEIGHTS
    try:
        card = read_card(folder / CARD)
    except Exception as error:
        raise InputError(f"{folder} is damaged ({error}): make or copy it anew") from error
    weights, tokenizer = read_tensors(weights_file), load_tokenizer(folder / TOKENIZER)
    rows = len(weights.get(WORDS, ()))
    if rows < tokenizer.vocabulary_size:
        raise InputError(
            f"{weights_file}: {rows:,} embeddings for the {tokenizer.vocabulary_size:,} entries "
            "of its tokenizer: they do not belong together"
        )
    with torch.device("meta"):
        expected = make_task_model(card, tokenizer.special.pad, rows)
    check_tensors(weights_file, weights, shapes_of(expected))
    # Answers are computed in fp32 wherever they are asked for, which "flash" alone cannot.
    anywhere = replace(card, model=replace(card.model, attention="auto"))
    model = make_task_model(anywhere, tokenizer.special.pad, rows)
    model.load_state_dict(weights)
    return FinetunedModel(card, tokenizer, model.to(device).eval())


def load_encoder(name: str) -> Pretrained:
    """The encoder called `name`: a fine-tuning run's, without its head, or a pretrained one.

    To start from the model of a related task helps small tasks (Phang et al., 2018; RoBERTa,
    section 5.1, starts RTE, MRPC and STS-B from MNLI).
    """
    folder = find_finetuned(Path(name))
    if folder is None:
        return load_pretrained(name)
    related = load_finetuned(folder)
    weights = related.model.state_dict()
    own = {name: w for name, w in weights.items() if name.startswith("encoder.")}
    return Pretrained(related.card.model, related.tokenizer, own)


def read_card(path: Path) -> ModelCard:
    """The card in a file; raises what its damage, or a value that nobody writes, leads to."""
    raw = read_json(path, infinite=True)  # a score may be no number
    # Cards that name no list of stop words are of the time when there was only this one.
    raw["task"].setdefault("preprocess", {}).setdefault("stop_words", "scikit-learn")
    for name, schema in (("task", TaskConfig), ("model", ModelConfig), ("head", HeadConfig)):
        raw[name] = from_container(schema, raw[name])
    if not isinstance(raw["labels"], list):
        raise ValueError(f"labels={raw['labels']!r}")
    card = ModelCard(**raw | {"labels": tuple(raw["labels"])})
    fewest = 2 if card.task.kind in ("classification", "tagging") else 0
    names, longest = all(isinstance(name, str) for name in card.labels), card.model.max_positions
    sound = {
        "labels": names and len(set(card.labels)) >= fewest,
        "max_length": type(card.max_length) is int and 8 <= card.max_length <= longest,
        "settings": isinstance(card.settings, dict),
        "scores": isinstance(card.scores, dict),
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise ValueError(f"{name}={getattr(card, name)!r}")
    return card


def make_task(config: TaskConfig, max_length: int, labels: Sequence[str] = ()) -> AnyTask:
    """The task that a configuration describes; `labels` as in `Task`."""
    return KINDS[config.kind](config, max_length, labels)


def make_task_model(
    card: ModelCard,
    pad: int,
    rows: int,
    class_weights: Tensor | None = None,
    recompute: bool = False,
) -> TaskModel:
    """The model of a card, its weights not yet set.

    Args:
        pad: the padding token's id.
        rows: of the table of word embeddings.
        recompute: `engine.activation_checkpointing`.
    """
    outputs = make_task(card.task, card.max_length, card.labels).outputs
    loss = TaskLoss(card.task.kind, card.head, class_weights)
    return TaskModel(Encoder(card.model, rows, pad, recompute), outputs, loss)
