"""The lives of a run: which commands make one up, and of what material."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, TINY_YAML, deepspeed, write_topics
from tests.finetuning import topic_rows, write_csv, write_task

STEPS, SAVE_EVERY, EVALUATE_EVERY = 120, 8, 40
STEPS_OF_RANKS = 48
"""of several ranks on few cores, which wait for each other"""
PRETRAIN = [
    f"schedule.max_steps={STEPS}",
    f"checkpoint.every_steps={SAVE_EVERY}",
    f"evaluation.every_steps={EVALUATE_EVERY}",
    "data.cache=cache",
]
PIECES = "data.piece_megabytes=0.03"
ABLATION_YAML = """
title: Masking
recipe: {tiny}
seeds: [0]
fields: {{schedule.max_steps: 60, checkpoint.every_steps: 10, evaluation.every_steps: 30}}
scales: {{tiny: {{}}}}
axes: {{masking: {{static: {{mask_epochs: 1}}, dynamic: {{}}}}}}
tasks: [{{config: {task}, seeds: [0]}}]
metrics: [perplexity, parameters]
"""


@dataclass(frozen=True)
class Material:
    """What lives read and never write."""

    folder: Path

    @property
    def tiny(self) -> Path:
        return self.folder / "tiny.yaml"

    @property
    def task(self) -> Path:
        return self.folder / "topics.yaml"

    @property
    def ablation(self) -> Path:
        return self.folder / "masks.yaml"

    @property
    def texts(self) -> Path:
        """To predict from."""
        return self.folder / "texts.csv"

    @property
    def encoder(self) -> Path:
        """The undisturbed pretraining run."""
        return self.folder / "calm" / "pretrain" / "run"

    @property
    def finetuned(self) -> Path:
        """The undisturbed fine-tuning run."""
        return self.folder / "calm" / "finetune" / "run"

    def write(self) -> None:
        """Texts and configurations."""
        text = write_topics(self.folder / "topics.txt")
        yaml = TINY_YAML.format(text=text, cache=self.folder / "cache")
        self.tiny.write_text(yaml, encoding="utf-8")
        write_task(self.folder, self.encoder)
        write_csv(self.texts, topic_rows(seed=1, rows=3000), ("text", "label"))
        ablation = ABLATION_YAML.format(tiny=self.tiny, task=self.task)
        self.ablation.write_text(ablation, encoding="utf-8")


@dataclass(frozen=True)
class Life:
    """What is typed, one command after the other, in a folder of its own."""

    name: str
    commands: Callable[[Material], list[list[str]]]
    calm: str = ""
    """life whose undisturbed end it must have; by default its own"""


def script(name: str, *words: object, ranks: int = 0) -> list[str]:
    """A launch script's command line, by the launcher where it has ranks."""
    front = deepspeed(ranks) if ranks else (sys.executable,)
    return [*front, str(ROOT / "launch" / name), *map(str, words)]


def _pretrain(*further: str, ranks: int = 0) -> Callable[[Material], list[list[str]]]:
    words = [*PRETRAIN, "run_dir=run", *further]
    return lambda m: [script("pretrain.py", "--config", m.tiny, *words, ranks=ranks)]


def _finetune(*further: str) -> Callable[[Material], list[list[str]]]:
    words = ["run_dir=run", "seeds=[0,1]", "checkpoint.every_steps=4", *further]
    return lambda m: [script("finetune.py", "--config", m.task, *words)]


def _prepare(*shares: list[object]) -> Callable[[Material], list[list[str]]]:
    return lambda m: [
        script("prepare.py", "--config", m.tiny, "data.cache=cache", PIECES, *share)
        for share in shares
    ]


def _export(m: Material) -> list[list[str]]:
    return [
        script("export.py", "--model", m.encoder, "--output", "huggingface"),
        script("export.py", "--model", m.encoder, "--output", "onnx", "--format", "onnx"),
        script("export.py", "--model", m.finetuned, "--output", "task"),
    ]


def _predict(m: Material) -> list[list[str]]:
    words = ("--model", m.finetuned, "--input", m.texts, "--output", "answers.csv")
    return [script("predict.py", *words)]


def _ablate(m: Material) -> list[list[str]]:
    words = ("--config", m.ablation, "--jobs", 2, "fields.data.cache=cache", "run_dir=study")
    return [script("ablate.py", *words)]


ADAPT = ("adapt.epochs=1", "adapt.sequences=8", "adapt.cache=cache")
LIVES = [
    Life("pretrain", _pretrain()),
    Life("asynchronous", _pretrain("checkpoint.asynchronous=true"), calm="pretrain"),
    Life("ranks", _pretrain(f"schedule.max_steps={STEPS_OF_RANKS}", ranks=2)),
    Life("prepare", _prepare([])),
    Life(
        "shards",
        _prepare(
            ["--shard", 0, "--num-shards", 2],
            ["--shard", 1, "--num-shards", 2],
            ["--num-shards", 2],
        ),
        calm="prepare",
    ),
    Life("finetune", _finetune()),
    Life("adapt", _finetune(*ADAPT)),
    Life("export", _export),
    Life("predict", _predict),
    Life("ablate", _ablate),
]
