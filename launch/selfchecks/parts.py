"""What is checked, in this order."""

from __future__ import annotations

from collections.abc import Sequence

from configs.errors import InputError
from launch.selfchecks.frame import Part

PARTS = (
    Part(
        "machine",
        "versions, devices, and how fast matrices are multiplied",
        "launch.selfchecks.machine:check",
        1.0,
    ),
    Part(
        "attention",
        "each attention backend against float64, outputs and gradients",
        "launch.selfchecks.attention:check",
        1.0,
    ),
    Part(
        "loss",
        "the loss and the gradient of embeddings against float64",
        "launch.selfchecks.loss:check",
        1.0,
    ),
    Part(
        "steps",
        "whole training steps: speed, memory, what the device does",
        "launch.selfchecks.steps:check",
        3.0,
    ),
    Part(
        "saving",
        "checkpoints that are written while training goes on",
        "launch.selfchecks.saving:check",
        0.75,
    ),
    Part(
        "learning",
        "losses of training, by device, precision, ZeRO stage and update rule",
        "launch.selfchecks.learning:check",
        1.5,
    ),
    Part(
        "runs",
        "whole runs: leaving, resuming, fitting micro-batches",
        "launch.selfchecks.runs:check",
        1.5,
    ),
    Part(
        "finetuning",
        "the exported encoder beside transformers, a task learnt and answered",
        "launch.selfchecks.finetuning:check",
        1.0,
    ),
    Part(
        "ranks",
        "several ranks against one, how they scale, and how fast gradients travel",
        "launch.selfchecks.ranks:check",
        1.5,
    ),
)


def choose(names: Sequence[str]) -> list[Part]:
    """Parts by their names, in their own order; all where none is named."""
    known = [part.name for part in PARTS]
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: no part is called so: {', '.join(known)}")
    return [part for part in PARTS if not names or part.name in names]
