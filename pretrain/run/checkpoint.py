"""Checkpoints that are whole or not there, and that any number of ranks can read.

    checkpoints/step-00000500/
        model.safetensors       fp32 weights
        optimizer.safetensors   moments of every parameter, under its name, unpartitioned; of
                                Muon's matrices their momentum
        state.json              step, elapsed minutes, fingerprints
        extra.safetensors       what else the state names; not in pretraining
        manifest.json           sha256 of these
        complete                sha256 of the manifest

A folder is written aside, hashed, marked complete, flushed and renamed. Loading verifies the
hashes, falls back to the checkpoint before, and executes no code. No randomness is stored: it is a
function of the step.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from configs.errors import InputError, RunError
from configs.schema import CheckpointConfig
from configs.system.files import sha256_file, written_aside
from configs.system.json_files import read_json
from configs.system.run_names import WEIGHTS
from pretrain.ranks.agreement import by_all, failing_together
from pretrain.ranks.checksums import find_drift, require_same
from pretrain.ranks.world import World
from pretrain.run.checkpoint_folder import checkpoint_in, list_checkpoints, prune, step_of
from pretrain.run.checkpoint_state import STATE, State
from pretrain.run.tensors import check_tensors, read_tensors, write_tensors

logger = logging.getLogger(__name__)

Tensors = dict[str, Tensor]
OPTIMIZER = "optimizer.safetensors"
EXTRA = "extra.safetensors"
MANIFEST = "manifest.json"
COMPLETE = "complete"
FILES = (WEIGHTS, OPTIMIZER, STATE)
MOMENTS = ("exp_avg", "exp_avg_sq")
"""of Adam and its kin: names in the optimizer's state, and after the parameter's in the file"""


class Saveable(Protocol):
    """A model in training, as a checkpoint sees it; the calls are collective.

    Whatever the ZeRO stage, tensors are in full, in the parameter's shape and fp32.
    """

    world: World
    model: nn.Module

    def full_weight(self, parameter: Tensor) -> Tensor:
        """The parameter's weights."""
        ...

    def moments_of(self, parameter: Tensor) -> tuple[str, ...]:
        """Names of what its update rule keeps, `MOMENTS` for example; the same on all ranks."""
        ...

    def full_moment(self, parameter: Tensor, moment: str) -> Tensor:
        """One of `moments_of` it."""
        ...

    def set_weight(self, parameter: Tensor, value: Tensor) -> None:
        """The reverse of `full_weight`."""
        ...

    def set_moment(self, parameter: Tensor, moment: str, value: Tensor) -> None:
        """The reverse of `full_moment`."""
        ...

    def set_step(self, step: int) -> None:
        """Tell the optimizer how many updates its moments have seen."""
        ...


class Writer:
    """Saves a run's checkpoints into `folder`, one at a time."""

    def __init__(self, folder: Path, config: CheckpointConfig) -> None:
        self.folder, self.config = folder, config
        self._pool = ThreadPoolExecutor(1, "checkpoint") if config.asynchronous else None
        self._pending: Future[None] | None = None

    def save(self, engine: Saveable, state: State, extra: Tensors | None = None) -> None:
        """Write one checkpoint and drop those that need not stay, or begin to.

        Called by every rank, since ZeRO's partitions are gathered; rank 0 writes.

        Args:
            extra: tensors that belong to `state.extra`, on the CPU; they must not change any more.
        Raises:
            InputError: the disk is full; of this save, or of one before that ran in the thread.
            RunError: ranks no longer hold the same weights; nothing is written.
        """
        # One write at a time: `_pending` must be whole before the next may prune what came before
        # it.
        self.wait()
        require_same_weights(engine, state.step, self.folder)
        # A thread writes while the next steps change the tensors: then they must be copies.
        weights, moments = gather(engine, copy=self._pool is not None)
        tensors = dict(zip(FILES, (weights, moments)))
        if extra:
            tensors[EXTRA] = extra
        if engine.world.is_main and self._pool:
            self._pending = self._pool.submit(self._write, tensors, state)
        elif engine.world.is_main:
            self._write(tensors, state)
        engine.world.barrier()

    def wait(self) -> None:
        """Return once the last checkpoint is whole; raises what kept it from that."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def _write(self, tensors: dict[str, Tensors], state: State) -> None:
        with written_aside(checkpoint_in(self.folder, state.step)) as aside:
            for name, content in tensors.items():
                write_tensors(aside / name, content)
            (aside / STATE).write_text(json.dumps(asdict(state)), encoding="utf-8")
            # The files, then their hashes, then the hash of the hashes: each is of what is there
            # already, so that a torn or mixed folder has none that agrees. The folder gets its name
            # last, flushed to the disk: a name after a power cut is one of a whole checkpoint.
            hashes = {name: sha256_file(aside / name) for name in (*tensors, STATE)}
            (aside / MANIFEST).write_text(json.dumps(hashes), encoding="utf-8")
            mark = sha256_file(aside / MANIFEST)
            (aside / COMPLETE).write_text(f"{mark}\n", encoding="utf-8")
        # Only now that the new one is whole: with `keep: 1` nothing else would be left.
        self.prune(state.step)

    def prune(self, step: int) -> None:
        """Drop what need not stay, as the newest checkpoint is that of `step`."""
        prune(self.folder, step, self.config.keep, self.config.keep_every_steps)


def require_same_weights(engine: Saveable, step: int, folder: Path) -> None:
    """Raise `RunError` on all ranks where one holds other weights than the rest.

    Whatever the ZeRO stage, every rank computes with all weights. Moments that went wrong show in
    the weights of the next step.
    """
    drift = find_drift(engine.world, dict(engine.model.named_parameters()))
    if drift:
        saved = list_checkpoints(folder)
        again = f"resumes from {saved[-1]}" if saved else "begins anew"
        raise by_all(
            RunError(
                f"at step {step} ranks no longer hold the same weights: {drift}: memory or "
                f"arithmetic of a node failed; this step was not saved, the same command {again}"
            )
        )


def find_last(folder: Path, up_to_step: int | None = None) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are named on standard error.

    Returns None where there is none at all, or none of `up_to_step` steps or fewer.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    saved = list_checkpoints(folder)
    if up_to_step is not None:
        saved = [path for path in saved if step_of(path) <= up_to_step]
    for path in reversed(saved):
        damage = find_damage(path)
        if damage is None:
            return path
        logger.warning(f"checkpoint {path} is damaged ({damage}): trying the one before")
    if saved:
        raise InputError(f"{folder}: every checkpoint is damaged: restore one or remove them all")
    return None


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    # Whatever damage leads to, in any file: the answer is the same, another checkpoint is needed.
    try:
        if (path / COMPLETE).read_bytes() != f"{sha256_file(path / MANIFEST)}\n".encode():
            return f"content of {MANIFEST} or {COMPLETE} has changed"
        hashes = read_json(path / MANIFEST)
        names = (*FILES, EXTRA) if EXTRA in hashes else FILES
        broken = [name for name in names if sha256_file(path / name) != hashes[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"content of {broken[0]} has changed" if broken else None


def restore(path: Path, engine: Saveable, state: State) -> None:
    """Put a checkpoint's weights and moments into the engine, whatever its ranks and ZeRO stage.

    Raises:
        InputError: on all ranks: one has read a file that is damaged, or other tensors than others.
    """
    parameters = dict(engine.model.named_parameters())
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    of_moments = {
        f"{name}.{moment}": parameter.shape
        for name, parameter in parameters.items()
        for moment in engine.moments_of(parameter)
    }
    # Every rank reads all of both files: partitions are cut from whole tensors, by any number of
    # ranks. One that cannot read must not leave the others in the next collective.
    with failing_together(engine.world):
        weights, moments = (read_tensors(path / name) for name in FILES[:2])
        check_tensors(path / FILES[0], weights, shapes)
        check_tensors(path / FILES[1], moments, of_moments)
    require_same(engine.world, weights | moments, str(path))
    # Bias correction counts updates, and a skipped step was none.
    scatter(engine, weights, moments, state.step - state.skipped_steps)


def read_extra(path: Path, world: World) -> Tensors:
    """What `Writer.save` was given as `extra`; empty where it was nothing; raises `InputError` on
    all ranks, as `restore`."""
    with failing_together(world):
        extra = read_tensors(path / EXTRA) if (path / EXTRA).is_file() else {}
    require_same(world, extra, str(path))
    return extra


def gather(engine: Saveable, copy: bool = False) -> tuple[Tensors, Tensors]:
    """(weights, moments) of all parameters in full, fp32 on rank 0's CPU; empty on other ranks.

    Without `copy` they may be the engine's own, to be read before its next step.
    """
    weights: Tensors = {}
    moments: Tensors = {}

    def keep(place: Tensors, name: str, tensor: Tensor) -> None:
        if engine.world.is_main:
            place[name] = tensor.detach().to("cpu", torch.float32, copy=copy).contiguous()

    for name, parameter in engine.model.named_parameters():
        keep(weights, name, engine.full_weight(parameter))
        for moment in engine.moments_of(parameter):
            keep(moments, f"{name}.{moment}", engine.full_moment(parameter, moment))
    return weights, moments


def scatter(engine: Saveable, weights: Tensors, moments: Tensors, step: int) -> None:
    """The reverse of `gather`; `step` is the number of updates the moments have seen."""
    engine.set_step(step)
    for name, parameter in engine.model.named_parameters():
        engine.set_weight(parameter, weights[name])
        for moment in engine.moments_of(parameter):
            engine.set_moment(parameter, moment, moments[f"{name}.{moment}"])
