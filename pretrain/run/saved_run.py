"""A run of pretraining, read again: its configuration, tokenizer, state and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from configs.errors import InputError
from configs.loader import load_run_config
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from configs.system.run_names import CONFIG, WEIGHTS
from pretrain.model.pretraining import PretrainingModel, make_model
from pretrain.run.checkpoint import find_last
from pretrain.run.checkpoint_state import ROPE_THETA, State, read_state
from pretrain.run.tensors import check_tensors, read_tensors, shapes_of
from tokenizer.base import Tokenizer
from tokenizer.load import load_tokenizer


def open_run(path: Path, called: str = "", up_to_step: int | None = None) -> OpenRun:
    """The run in a folder, of which nothing is read before it is asked for.

    Args:
        called: what the user has typed to name it, for messages; empty: its path alone.
        up_to_step: its checkpoint is to be the newest of at most so many steps; None: the newest.
    Raises:
        InputError: there is no run; later, as each part is read, what is wrong with it.
    """
    run = OpenRun(RunFolder(path), called or str(path), up_to_step)
    if not run.folder.config.is_file():
        raise InputError(f"{run.called}: no run folder ({CONFIG} is missing)")
    return run


@dataclass(frozen=True)
class OpenRun:
    """A run, each part of it read once, when it is asked for; raises `InputError` for damage."""

    folder: RunFolder
    called: str
    up_to_step: int | None = None

    @cached_property
    def started(self) -> PretrainConfig:
        """What it was started with."""
        return load_run_config(PretrainConfig, self.folder.path)

    @cached_property
    def config(self) -> PretrainConfig:
        """The same, with the model as it is at the checkpoint: a phase may have changed the base of
        its rotary angles."""
        config = self.started
        if all(phase.rope_theta is None for phase in config.phases):
            return config
        theta = self.state.extra.get(ROPE_THETA, config.model.rope_theta)
        return replace(config, model=replace(config.model, rope_theta=theta))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Its own copy of the tokenizer."""
        return load_tokenizer(self.folder.tokenizer)

    @cached_property
    def checkpoint(self) -> Path:
        """The newest whole checkpoint."""
        newest = find_last(self.folder.checkpoints, self.up_to_step)
        if newest is None and self.up_to_step is None:
            raise InputError(f"{self.called}: no whole checkpoint yet: let its run finish first")
        if newest is None:
            raise InputError(
                f"{self.folder.checkpoints}: no whole checkpoint from before step {self.up_to_step}"
            )
        return newest

    @cached_property
    def state(self) -> State:
        """What its checkpoint knows beside tensors."""
        return read_state(self.checkpoint, {})

    def weights(self) -> dict[str, Tensor]:
        """The checkpoint's weights, fp32 on the CPU, read anew at each call."""
        path = self.checkpoint / WEIGHTS
        if self.state.fingerprints.get("tokenizer") != self.tokenizer.fingerprint:
            raise InputError(
                f"{self.folder.tokenizer} is not the tokenizer that {self.checkpoint} was trained "
                "with: restore it"
            )
        weights = read_tensors(path)
        with torch.device("meta"):
            expected = make_model(self.config, self.tokenizer)
        check_tensors(path, weights, shapes_of(expected))
        return weights

    def model(self) -> PretrainingModel:
        """The model with these weights, on the CPU."""
        weights = self.weights()
        model = make_model(self.config, self.tokenizer)
        model.load_state_dict(weights)
        return model
