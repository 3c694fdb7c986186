"""Run folders as training leaves them, made in milliseconds: no DeepSpeed, no launcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.loader import load_config
from configs.schema import CheckpointConfig, PretrainConfig
from configs.system.run_folder import RunFolder
from pretrain.data.corpus import Corpus
from pretrain.data.store import TokenStore
from pretrain.model.pretraining import initialise, make_model
from pretrain.ranks.world import World
from pretrain.run.checkpoint import MOMENTS, Writer
from pretrain.run.checkpoint_state import State
from pretrain.run.describe import write_environment
from tests.helpers import write_store
from tokenizer.base import Tokenizer
from tokenizer.training import train_tokenizer

TEXTS = ["the cat sat on the mat", "a dog ran to the cat", "mats are sat on by cats"] * 4
TINY = [
    "model={layers: 1, hidden_size: 16, heads: 2, feed_forward_size: 32, max_positions: 32}",
    "max_length=16",
    "tokenizer={vocabulary_size: 280, allow_smaller_vocabulary: true}",
    "engine.precision=fp32",
]
ALONE = World(0, 1, torch.device("cpu"))


@dataclass
class FakeEngine:
    """A model whose optimizer is a dictionary: what a checkpoint has to know of one."""

    model: nn.Module
    world: World = ALONE
    moments: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    step: int = 0

    def full_weight(self, parameter: Tensor) -> Tensor:
        return parameter.detach()

    def moments_of(self, parameter: Tensor) -> tuple[str, ...]:
        return MOMENTS

    def full_moment(self, parameter: Tensor, moment: str) -> Tensor:
        return self.moments.setdefault(moment, {}).get(id(parameter), torch.zeros_like(parameter))

    @torch.no_grad()
    def set_weight(self, parameter: Tensor, value: Tensor) -> None:
        parameter.copy_(value)

    def set_moment(self, parameter: Tensor, moment: str, value: Tensor) -> None:
        self.moments.setdefault(moment, {})[id(parameter)] = value.clone()

    def set_step(self, step: int) -> None:
        self.step = step

    def fill(self, seed: int) -> None:
        """Other weights and moments, none of them zero."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.model.parameters():
            draw = [torch.rand(parameter.shape, generator=generator) + 0.1 for _ in range(3)]
            self.set_weight(parameter, draw[0])
            for moment, value in zip(MOMENTS, draw[1:]):
                self.set_moment(parameter, moment, value)


def tiny_config(run_dir: Path) -> PretrainConfig:
    return load_config(PretrainConfig, "small", [*TINY, f"run_dir={run_dir}"])


def tiny_tokenizer(run_dir: Path) -> Tokenizer:
    return train_tokenizer(tiny_config(run_dir).tokenizer, TEXTS)


def write_run(run_dir: Path, steps: tuple[int, ...] = (1, 2)) -> FakeEngine:
    """A run folder with a checkpoint after each of `steps`; returns what the last one holds."""
    config, tokenizer = tiny_config(run_dir), tiny_tokenizer(run_dir)
    write_environment(run_dir, config, ALONE, {"parameters": 1}, step=0)
    folder = RunFolder(run_dir)
    tokenizer.save(folder.tokenizer)
    engine = FakeEngine(make_model(config, tokenizer))
    initialise(engine.model, config.model, config.seed)
    writer = Writer(folder.checkpoints, CheckpointConfig(keep=len(steps) or 1, asynchronous=False))
    for step in steps:
        engine.fill(step)
        writer.save(engine, State(step, fingerprints={"tokenizer": tokenizer.fingerprint}))
    return engine


def tiny_corpus(folder: Path) -> Corpus:
    """A store of `TEXTS`, each a document of one sentence."""
    tokenizer = tiny_tokenizer(folder)
    documents = [[list(ids)] for ids in tokenizer.encode_batch(TEXTS * 8)]
    size = tokenizer.vocabulary_size
    write_store(folder, size, train=documents, heldout=documents[:3])
    stores = [TokenStore.open(folder, split) for split in ("train", "heldout")]
    return Corpus(folder, tokenizer, *stores, fingerprint="f" * 64)
