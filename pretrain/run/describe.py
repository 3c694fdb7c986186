"""A run folder explains itself: what was decided, from what, with which versions.

`opening.py` says the same to the person who watches the start.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from configs.finetune_schema import FinetuneConfig
from configs.loader import dump_config, flat
from configs.schema import FREE_TO_CHANGE, PretrainConfig
from configs.system.files import make_folder, write_text
from configs.system.run_folder import RunFolder
from configs.system.secrets import hashed, hide
from configs.system.version import (
    FINETUNING,
    code_version,
    package_version,
    source_fingerprint,
)
from pretrain.data.prepare import Corpus
from pretrain.ranks.world import World

RunConfig = PretrainConfig | FinetuneConfig
PACKAGES = ("torch", "deepspeed", "tokenizers", "sentencepiece", "datasets", "numpy")


def fingerprints(config: PretrainConfig, corpus: Corpus) -> dict[str, str]:
    """What must be the same when a checkpoint is loaded again, by name: the recipe's fields, the
    vocabulary, the tokenizer's and the corpus's hashes."""

    def is_free(name: str) -> bool:
        return any(name == free or name.startswith(f"{free}.") for free in FREE_TO_CHANGE)

    recipe = {name: value for name, value in flat(asdict(config)).items() if not is_free(name)}
    return {
        **{name: hashed(str(value)) for name, value in recipe.items()},
        "vocabulary": str(corpus.tokenizer.vocabulary_size),
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
    }


def note_verified(run_dir: Path, step: int, verified_bytes: int) -> None:
    """Into environment.json: how much of the store was verified when a checkpoint was written."""
    folder = RunFolder(run_dir)
    environment = folder.read_environment()
    if "verified" in environment:
        environment["verified"] |= {"at_step": step, "verified_by_then": verified_bytes}
        folder.write_environment(environment)


def write_environment(
    run_dir: Path,
    config: RunConfig,
    world: World,
    decided: dict[str, Any],
    packages: tuple[str, ...] = FINETUNING,
    step: int | None = None,
) -> None:
    """config.yaml, and environment.json with what was `decided` on top.

    Args:
        packages: of ours, whose code decides what the run finds.
        step: where the run resumes; 0: it begins. None: it is no run of steps.
    """
    folder = RunFolder(run_dir)
    make_folder(run_dir)
    write_text(folder.config, dump_config(config))
    version = {"code": code_version(), "source": source_fingerprint(packages)}
    start = {"step": step, **version, "time": round(time.time(), 3)}
    environment = {
        **decided,
        **version,
        "starts": [*folder.earlier_starts(), start],
        "packages": {name: package_version(name) for name in ("masklab", *PACKAGES)},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "device": device_name(world.device),
        "world_size": world.size,
        "threads_per_rank": torch.get_num_threads(),
        "command": list(map(hide, sys.argv)),
    }
    folder.write_environment(environment)


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads per rank"
